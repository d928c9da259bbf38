/** Which of gRPC's failures an error of the client stands for. */

/** The part of gRPC's status codes that we tell apart. */
const grpcStatus = {
  cancelled: 1,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unavailable: 14,
};

/** The status code in an error or in what caused it; undefined for errors that no server sent. */
function statusOf(error: unknown): number | undefined {
  let current: unknown = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth += 1) {
    if ('code' in current && typeof current.code === 'number') return current.code;
    current = current.cause;
  }
  return undefined;
}

/** The server is away, starting or too busy: the same call may succeed later. */
export function isServerSilent(error: unknown): boolean {
  const code = statusOf(error);
  return (
    code !== undefined &&
    [grpcStatus.unavailable, grpcStatus.deadlineExceeded, grpcStatus.cancelled, grpcStatus.resourceExhausted].includes(
      code,
    )
  );
}

/** A query that found no worker to answer it. */
export function isNobodyToAsk(error: unknown): boolean {
  const code = statusOf(error);
  return code !== undefined && [grpcStatus.deadlineExceeded, grpcStatus.failedPrecondition].includes(code);
}

/** What was asked for is not there, or not yet known to the part of the server that was asked. */
export function isNotFound(error: unknown): boolean {
  return statusOf(error) === grpcStatus.notFound;
}
