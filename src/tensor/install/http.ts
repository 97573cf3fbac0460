/**
 * @file GET as package clients do it: through the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, NO_PROXY),
 * with the certificate authorities that Node or pip is told to trust, and with the credentials in the address.
 */
import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { UnfoldError } from '../../errors.ts';
import { basicOf } from '../../model/hub/settings.ts';

/** Time without a byte after which a connection counts as broken, in milliseconds. */
const STALL = 30_000;

let agent: Dispatcher | undefined;

function dispatcher(): Dispatcher {
  agent ??= new EnvHttpProxyAgent({
    connect: { ...authorities(), timeout: STALL },
    requestTls: authorities(),
    headersTimeout: STALL,
    bodyTimeout: STALL,
  });
  return agent;
}

/** Node reads NODE_EXTRA_CA_CERTS itself unless a list is given, so a list that adds pip's must repeat it. */
function authorities(): { ca?: string[] } {
  const { PIP_CERT, NODE_EXTRA_CA_CERTS } = process.env;
  if (!PIP_CERT) return {};
  const files = [PIP_CERT, ...(NODE_EXTRA_CA_CERTS ? [NODE_EXTRA_CA_CERTS] : [])];
  return { ca: [...rootCertificates, ...files.map((file) => readFileSync(file, 'utf8'))] };
}

/**
 * One GET, redirects followed (at most five).
 * @returns the response with its body unread, and the address it came from
 * @throws the network's own error; statuses are the caller's to judge
 */
export async function get(
  url: string,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Dispatcher.ResponseData & { url: string }> {
  let address = new URL(url);
  for (let hop = 0; hop < 6; hop++) {
    const response = await request(withoutCredentials(address), {
      dispatcher: dispatcher(),
      headers: { ...headers, ...authorization(address) },
      signal,
    });
    const { location } = response.headers;
    if (response.statusCode < 300 || response.statusCode >= 400 || !location) {
      return Object.assign(response, { url: address.href });
    }
    await response.body.dump();
    address = new URL(String(location), address);
  }
  throw new UnfoldError('no-network', {
    where: url,
    expected: 'an answer after at most five redirects',
    found: 'a sixth redirect',
    todo: 'check the address',
  });
}

function withoutCredentials(address: URL): string {
  const plain = new URL(address);
  plain.username = '';
  plain.password = '';
  return plain.href;
}

function authorization(address: URL): Record<string, string> {
  const basic = basicOf(address);
  return basic === undefined ? {} : { authorization: basic };
}
