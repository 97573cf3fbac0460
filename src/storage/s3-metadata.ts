/** @file What is kept beside each object, as its user metadata (x-amz-meta-…): names and meaning. */

/** SHA-256 of the content, hex. ETags are no hash of it where it was sent in parts. */
export const SHA256 = 'sha256';
/** Size of the content as it was sent, decimal. */
export const BYTES = 'bytes';
/** A random mark of the one put: a put that was tried again knows its own object. */
export const WRITER = 'writer';
