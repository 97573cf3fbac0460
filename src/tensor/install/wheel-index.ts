/**
 * @file Finds a wheel in a Python package index by its "simple" interface (PEP 691 JSON, or PEP 503 HTML where a mirror
 * has only that), which gives each file's address and SHA-256. No Python is needed.
 */
import { UnfoldError } from '../../errors.ts';
import { shownUrl } from '../../shown-url.ts';
import { get } from './http.ts';

/** A file in the index. */
export interface IndexedFile {
  url: string;
  /** Hex; undefined where the index gives none. */
  sha256?: string;
}

const ACCEPT =
  'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1';

/**
 * Looks `file` up among the files of `project`.
 * @param index address of the simple index, as in pip's `--index-url`
 * @throws UnfoldError `no-network` or `no-wheel`
 */
export async function findWheel(
  index: string,
  project: string,
  file: string,
  signal?: AbortSignal,
): Promise<IndexedFile> {
  const page = `${index.replace(/\/+$/, '')}/${project}/`;
  const { text, type, url } = await fetchPage(page, signal);
  const files = type.includes('json') ? filesOfJson(text) : filesOfHtml(text);
  const found = files.get(file);
  if (found) return { ...found, url: new URL(found.url, url).href };
  throw new UnfoldError('no-wheel', {
    where: shownUrl(page),
    expected: `a file ${file}`,
    found: `${files.size} other files`,
    todo: 'choose another --index, or download the wheel elsewhere and pass it with --wheel FILE',
  });
}

async function fetchPage(page: string, signal?: AbortSignal) {
  const todo =
    'check the network, HTTPS_PROXY and --index (or PIP_INDEX_URL), or download the wheel elsewhere and pass --wheel FILE';
  const expected = 'a page of a Python package index';
  const where = shownUrl(page);
  let response: Awaited<ReturnType<typeof get>>;
  try {
    response = await get(page, { accept: ACCEPT }, signal);
  } catch (cause) {
    const found = cause instanceof Error ? cause.message || String(cause) : String(cause);
    throw new UnfoldError('no-network', { where, expected, found, todo, cause });
  }
  const text = await response.body.text();
  if (response.statusCode !== 200) {
    throw new UnfoldError('no-network', { where, expected, found: `HTTP ${response.statusCode}`, todo });
  }
  return { text, type: String(response.headers['content-type'] ?? ''), url: response.url };
}

function filesOfJson(text: string): Map<string, IndexedFile> {
  const { files } = JSON.parse(text) as {
    files: { filename: string; url: string; hashes?: { sha256?: string } }[];
  };
  return new Map(files.map(({ filename, url, hashes }) => [filename, { url, sha256: hashes?.sha256 }]));
}

/** Anchors of a PEP 503 page: `<a href="…/name.whl#sha256=…">name.whl</a>`. */
function filesOfHtml(text: string): Map<string, IndexedFile> {
  const files = new Map<string, IndexedFile>();
  for (const [, href] of text.matchAll(/<a\s[^>]*href\s*=\s*"([^"]+)"/gi)) {
    const [url = '', fragment = ''] = href!.replaceAll('&amp;', '&').split('#');
    const name = decodeURIComponent(url.split('?')[0]!.split('/').at(-1) ?? '');
    files.set(name, { url, sha256: /sha256=([0-9a-f]{64})/.exec(fragment)?.[1] });
  }
  return files;
}
