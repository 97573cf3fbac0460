/**
 * @file Whatever was thrown, as what a user can mend, where it is that: errors of the file system, of the network, of limits
 * that were reached. The last place before a command's report and a job's record; the first is where the file is read or
 * written (read.ts, files.ts), which knows what it was for. What is left is a fault of ours.
 */
import { UnfoldError } from './errors.ts';
import { explainDisk } from './files.ts';
import { limitsInWords } from './limits.ts';
import { explainRead } from './read.ts';

/** How far causes are followed. */
const DEEPEST = 8;

/** The error itself, or the first lesson in it: looks through causes and gathered errors, outermost first. */
export function explain(error: unknown): unknown {
  for (const each of layersOf(error)) {
    const lesson = lessonOf(each);
    if (lesson) return lesson;
  }
  return error;
}

/** The error and its causes; of gathered errors each before what gathered them, which knows less. */
function* layersOf(error: unknown, depth = 0): Generator<unknown, void, undefined> {
  if (depth > DEEPEST) return;
  const gathered = error instanceof AggregateError ? error.errors : [];
  for (const inner of gathered) yield* layersOf(inner, depth + 1);
  yield error;
  if (error instanceof Error && error.cause !== undefined) yield* layersOf(error.cause, depth + 1);
}

function lessonOf(error: unknown): UnfoldError | undefined {
  if (error instanceof UnfoldError) return error;
  if (!(error instanceof Error)) return undefined;
  return [ofLimits, ofNames, ofFiles, ofNetwork]
    .map((of) => of(error))
    .find((lesson) => lesson !== undefined);
}

/** What the engine, the kernels and the system say where there is no more memory, or no longer a string. */
const NO_MEMORY =
  /Array buffer allocation failed|Invalid typed array length|could not allocate memory|Out of memory|Cannot allocate|std::bad_alloc|Failed to allocate memory/i;
const TOO_LONG = /Invalid string length|Cannot create a string longer than|File size .* is greater than/;

function ofLimits(error: NodeJS.ErrnoException): UnfoldError | undefined {
  const { code, message, path } = error;
  if (code === 'EMFILE' || code === 'ENFILE')
    return new UnfoldError('too-many-files', {
      where: path ?? 'opening a file or a connection',
      expected: 'room for one more open file',
      found: `${limitsInWords().files} (${code})`,
      todo: 'ulimit -n 4096, then the same command again; fewer at a time need fewer',
      cause: error,
    });
  if (code === 'ENOMEM' || NO_MEMORY.test(message))
    return new UnfoldError('out-of-memory', {
      where: path ?? 'memory',
      expected: 'room for what is computed',
      found: `${limitsInWords().memory}; there was no more (${firstLine(message)})`,
      todo: 'give fewer tokens, rows, latents or coders at a time, raise the limit, or take a machine with more memory',
      cause: error,
    });
  if (!TOO_LONG.test(message)) return undefined;
  return new UnfoldError('too-large', {
    where: path ?? 'a text or a value',
    expected: 'at most 512 MiB in one text, 2 GiB in one file that is read whole',
    found: `more (${firstLine(message)})`,
    todo: 'give less at a time: fewer files, rows, tokens or coders',
    cause: error,
  });
}

/** A name with a NUL byte is refused before the system is asked. */
function ofNames(error: NodeJS.ErrnoException): UnfoldError | undefined {
  if (error.code !== 'ERR_INVALID_ARG_VALUE' || !error.message.includes('null bytes')) return undefined;
  return new UnfoldError('bad-name', {
    where: /Received (.*)/s.exec(error.message)?.[1] ?? 'the name of a file',
    expected: 'the name of a file',
    found: 'a name with a NUL byte, which no file can have',
    todo: 'correct the name',
    cause: error,
  });
}

/** Calls that write whatever they are given. */
const WRITING = new Set(
  'mkdir rename unlink rmdir rm write writev fsync fdatasync ftruncate truncate copyfile cp link symlink chmod utime mkdtemp'.split(
    ' ',
  ),
);

function ofFiles(error: NodeJS.ErrnoException & { dest?: string }): UnfoldError | undefined {
  const { code, syscall, path, dest } = error;
  if (!code || !syscall || isOfNetwork(error)) return undefined;
  const where = dest ?? path ?? `a file (${syscall})`;
  // Of a file that is opened it is not known what for.
  if (syscall === 'open' && (code === 'EACCES' || code === 'EPERM'))
    return plain(error, where, 'no permission to open it');
  const written = explainDisk(error, where);
  if (
    written instanceof UnfoldError &&
    (WRITING.has(syscall) || written.kind === 'disk-full' || code === 'EROFS')
  )
    return written;
  const read = explainRead(error, where);
  if (read instanceof UnfoldError) return read;
  return path === undefined ? undefined : plain(error, where, `${syscall} failed`);
}

function plain(error: NodeJS.ErrnoException, where: string, found: string): UnfoldError {
  return new UnfoldError('unusable-file', {
    where,
    expected: 'a file or folder that can be used',
    found: `${found} (${error.code})`,
    todo: 'check the path, its permissions and its file system, or choose another',
    cause: error,
  });
}

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'the connection was cut',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the host’s name could not be looked up',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'no way to the host',
  ENETUNREACH: 'no way to its network',
  EADDRINUSE: 'another process listens there',
  EADDRNOTAVAIL: 'not an address of this machine',
};

const isOfNetwork = ({ code = '' }: NodeJS.ErrnoException) => Object.hasOwn(NETWORK, code);

function ofNetwork(
  error: NodeJS.ErrnoException & { address?: string; hostname?: string; port?: number },
): UnfoldError | undefined {
  const { code = '', address, hostname, port, path } = error;
  if (!isOfNetwork(error)) return undefined;
  const host = address ?? hostname ?? path ?? 'the network';
  return new UnfoldError('no-network', {
    where: port === undefined ? host : `${host}:${port}`,
    expected: 'a connection',
    found: `${NETWORK[code]} (${code})`,
    todo: 'check the address, the network and HTTPS_PROXY, then run the same command again',
    cause: error,
  });
}

const firstLine = (text: string) => text.split('\n', 1)[0]!.slice(0, 200);
