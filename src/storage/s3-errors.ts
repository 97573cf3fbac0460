/**
 * @file What S3 servers and the network say when something is wrong, as lessons. Names of errors are those of the S3 API
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html); a HEAD request has a status only.
 */
import { UnfoldError } from '../errors.ts';
import { shownUrl } from '../shown-url.ts';
import { missingFile } from './lessons.ts';
import type { S3Location } from './url.ts';

/** What was asked of which place. */
export interface S3Question {
  location: S3Location;
  /** Without secrets. */
  url: string;
  name: string;
}

interface ServiceError extends Error {
  code?: string;
  Code?: string;
  $metadata?: { httpStatusCode?: number; attempts?: number };
}

/** HTTP status of a failed request, where there was an answer. */
export function statusOf(error: unknown): number | undefined {
  return (error as ServiceError)?.$metadata?.httpStatusCode;
}

/** The API's name of the error, or Node's code. */
export function codeOf(error: unknown): string {
  const { name = '', code, Code } = (error ?? {}) as ServiceError;
  return Code ?? (code && (name === 'Error' || name === 'TimeoutError') ? code : name);
}

/** No such object; a bucket that does not exist is another matter where the server says so. */
export function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'NoSuchKey' || code === 'NotFound' || (statusOf(error) === 404 && code !== 'NoSuchBucket');
}

/** The server refused because the file is (or another writer's is about to be) there. */
export function isRefusedAsPresent(error: unknown): boolean {
  const status = statusOf(error);
  return status === 412 || (status === 409 && codeOf(error) === 'ConditionalRequestConflict');
}

/** The error as a lesson; aborts and errors of our own pass through. */
export function explainS3(error: unknown, question: S3Question): unknown {
  if (error instanceof UnfoldError) return error;
  const code = codeOf(error);
  if (code === 'AbortError' || (error as Error)?.message?.startsWith('internal:')) return error;
  if (isMissing(error)) return missingFile(question.url, question.name, error);
  const lesson = lessonOf(code, statusOf(error), question);
  if (!lesson) return isService(error) ? unknownAnswer(error, question) : error;
  const [kind, expected, found, todo] = lesson;
  return new UnfoldError(kind, { where: whereOf(question), expected, found, todo, cause: error });
}

type Answer = [kind: string, expected: string, found: string, todo: string];

const NETWORK = new Set([
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ETIMEDOUT',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'ENOTFOUND',
    'EAI_AGAIN',
  ],
  ...[
    'TimeoutError',
    'RequestTimeout',
    'NetworkingError',
    'ERR_STREAM_PREMATURE_CLOSE',
    'ERR_SOCKET_CONNECTION_TIMEOUT',
  ],
]);
const BUSY = new Set([
  'SlowDown',
  'ServiceUnavailable',
  'InternalError',
  'ThrottlingException',
  'TooManyRequests',
]);
const DENIED = new Set(['AccessDenied', 'AllAccessDisabled', 'AccountProblem', 'Forbidden']);
const WRONG_KEY = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'AuthorizationHeaderMalformed',
  'InvalidToken',
]);
const EXPIRED = new Set(['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'RequestExpired']);
const NONE = new Set(['CredentialsProviderError', 'ProviderError', 'TokenProviderError']);
const TLS = /^(ERR_TLS|ERR_SSL|EPROTO|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|CERT_)/;

function lessonOf(code: string, status: number | undefined, { location }: S3Question): Answer | undefined {
  const { bucket } = location;
  const server = serverOf(location);
  if (code === 'NoSuchBucket')
    return [
      'bad-storage',
      `a bucket “${bucket}” at ${server}`,
      'no such bucket',
      `make it (aws s3 mb s3://${bucket}), or correct its name, the endpoint or the region`,
    ];
  if (NETWORK.has(code))
    return [
      'storage',
      `an answer of ${server}`,
      code,
      'check that the server runs and can be reached from here, and the endpoint (?endpoint=http://HOST:PORT or AWS_ENDPOINT_URL_S3); then run the same command again: what is there is not copied again',
    ];
  if (BUSY.has(code) || (status !== undefined && status >= 500 && status !== 501))
    return [
      'storage',
      `${server} to do what it is asked`,
      `it is overloaded or has a fault (${code}, HTTP ${status})`,
      'run the same command again later: what is there is not copied again',
    ];
  if (EXPIRED.has(code))
    return [
      'bad-storage',
      'valid credentials',
      `they have expired (${code})`,
      'fetch new ones (aws sso login, or whatever made them), then run the same command again',
    ];
  if (NONE.has(code))
    return [
      'bad-storage',
      'credentials for S3',
      'none in the environment, ~/.aws or the machine’s role',
      'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
    ];
  if (WRONG_KEY.has(code))
    return [
      'bad-storage',
      `credentials that ${server} knows`,
      `it refuses them (${code})`,
      'check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and the region',
    ];
  if (code === 'RequestTimeTooSkewed')
    return [
      'bad-storage',
      'a clock that is right within 15 minutes',
      'this machine’s clock differs more than that from the server’s',
      'set the clock (timedatectl set-ntp true)',
    ];
  if (DENIED.has(code) || status === 403 || status === 401)
    return [
      'bad-storage',
      `permission to list, read and write in ${bucket}`,
      `access denied (${code}${status === undefined ? '' : `, HTTP ${status}`})`,
      'check the credentials (aws sts get-caller-identity), and that their policy allows s3:ListBucket, GetObject, PutObject, DeleteObject and AbortMultipartUpload here',
    ];
  if (code === 'PermanentRedirect' || code === 'TemporaryRedirect' || status === 301 || status === 307)
    return [
      'bad-storage',
      `the region that ${bucket} is in`,
      `another (${code})`,
      'add ?region=… to the URL, or set AWS_REGION',
    ];
  if (TLS.test(code))
    return [
      'bad-storage',
      `a TLS connection to ${server}`,
      code,
      'check http:// or https:// in the endpoint; for a certificate of your own set NODE_EXTRA_CA_CERTS',
    ];
  return undefined;
}

/** An answer that is none of the S3 API's. */
function isService(error: unknown): boolean {
  return (
    statusOf(error) !== undefined || error instanceof SyntaxError || '$metadata' in ((error ?? {}) as object)
  );
}

function unknownAnswer(error: unknown, question: S3Question): UnfoldError {
  const status = statusOf(error);
  const text = `${codeOf(error)}: ${(error as Error).message ?? ''}`.replaceAll(/\s+/g, ' ').slice(0, 200);
  return new UnfoldError('bad-storage', {
    where: whereOf(question),
    expected: `an answer of an S3 server from ${serverOf(question.location)}`,
    found: status === undefined ? text : `HTTP ${status}, ${text}`,
    todo: 'check the endpoint: it is the server’s S3 API, not its console or website',
    cause: error,
  });
}

function whereOf({ url, name }: S3Question): string {
  return name === '' ? url : `${url}: ${name}`;
}

function serverOf({ endpoint }: S3Location): string {
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = process.env;
  return shownUrl(endpoint ?? AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL ?? 'Amazon S3');
}
