/**
 * @file The AWS SDK's client for an s3:// URL. Credentials, profile and endpoint come from the SDK's own chain
 * (environment, ~/.aws, SSO, instance role; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL). Settings that other servers than
 * Amazon's need: buckets in the path, no checksum trailers, a region although they have none.
 */
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { S3Location } from './url.ts';

/** Tries of one request; the SDK waits longer before each, up to 20 s. */
const ATTEMPTS = 5;
const CONNECT_MS = 10_000;
/** A connection on which nothing moves for so long is given up, and the request tried again. */
const IDLE_MS = 60_000;
/** Several files of several parts go at once. */
const SOCKETS = 64;

// Which versions of Node the SDK of the day after tomorrow will want is nothing that a user of a command can act on.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

/** A client for this place; nothing is contacted. */
export function s3Client({ endpoint, region }: S3Location): S3Client {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  const isCustom = Boolean(endpoint ?? AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL);
  const config: S3ClientConfig = {
    region: region ?? regionOfEnvironment,
    forcePathStyle: isCustom,
    followRegionRedirects: !isCustom,
    maxAttempts: ATTEMPTS,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: IDLE_MS,
      httpAgent: { keepAlive: true, maxSockets: SOCKETS },
      httpsAgent: { keepAlive: true, maxSockets: SOCKETS },
    },
  };
  return new S3Client(endpoint === undefined ? config : { ...config, endpoint });
}

/** The SDK's own finding (AWS_REGION, the profile), or Amazon's default where it finds none: servers of others have none. */
async function regionOfEnvironment(): Promise<string> {
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  const named = AWS_REGION || AWS_DEFAULT_REGION;
  if (named) return named;
  const plain = new S3Client({});
  try {
    return await plain.config.region();
  } catch {
    return 'us-east-1';
  } finally {
    plain.destroy();
  }
}
