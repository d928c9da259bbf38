/** From an error of the S3 SDK to a StoreError with what was tried and a remedy. */
import { S3ServiceException } from '@aws-sdk/client-s3';
import { StoreError } from './errors.js';

const credentialsRemedy =
  'Check the credentials that this process finds (AWS_ACCESS_KEY_ID, profile, role or credentialsFile) and their rights.';
const bucketRemedy = 'Create the bucket, or correct the name, the endpoint or the path style in the settings.';

const remedies: Readonly<Record<string, string>> = {
  NoSuchBucket: bucketRemedy,
  AccessDenied: credentialsRemedy,
  Forbidden: credentialsRemedy,
  InvalidAccessKeyId: credentialsRemedy,
  SignatureDoesNotMatch: credentialsRemedy,
  CredentialsProviderError: credentialsRemedy,
  ExpiredToken: credentialsRemedy,
  RequestTimeTooSkewed: 'Set the clock of this machine.',
  PermanentRedirect: 'The bucket is in another region: correct the region in the settings.',
  AuthorizationHeaderMalformed: 'Correct the region in the settings.',
  ECONNREFUSED: 'Check that the server runs, and the endpoint in the settings.',
  ENOTFOUND: 'Check the endpoint in the settings, and the name server.',
};

/** Names that S3 itself refuses, whenever it is asked. */
const invalidKeys = new Set(['KeyTooLongError', 'ObjectParentIsFile', 'ObjectExistsAsDirectory']);

export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}

/** The object is not there. A bucket that is not there is another matter: its store must not look empty. */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket' && nameOf(error) !== 'NoSuchUpload';
}

export function isNoSuchUpload(error: unknown): boolean {
  return nameOf(error) === 'NoSuchUpload';
}

/** Somebody else has created the object. */
export function isTaken(error: unknown): boolean {
  return statusOf(error) === 412;
}

/** The server does not know the condition at all. */
export function isUnknownCondition(error: unknown): boolean {
  return statusOf(error) === 501 || nameOf(error) === 'NotImplemented';
}

/** Everything may pass but a key that is never accepted. A StoreError, an abort and a fault of ours stay as they are. */
export function storeErrorOfS3(error: unknown, tried: string): unknown {
  if (!(error instanceof Error) || error instanceof StoreError || !comesFromOutside(error)) return error;
  const name = nameOf(error);
  const words = error.message === 'UnknownError' || error.message === '' ? name : error.message;
  const status = statusOf(error);
  const why = status === undefined ? words : `${words.replace(/\.$/, '')}; ${name}, HTTP ${status}`;
  const remedy = remedies[name];
  const text = `Could not ${tried} (${why}).${remedy === undefined ? '' : ` ${remedy}`}`;
  return new StoreError(invalidKeys.has(name) ? 'KeyInvalid' : 'Unavailable', text, error);
}

function comesFromOutside(error: Error): boolean {
  return '$metadata' in error || 'code' in error || ['TimeoutError', 'CredentialsProviderError'].includes(error.name);
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  if (error instanceof S3ServiceException) return error.name;
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
