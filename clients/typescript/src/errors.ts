import type { AuthorizationAnswer, Confirmation, ErrorKind, ErrorName, ExecuteError } from "./types.js";

/** An error of this client. */
export class CountersignError extends Error {
  override name = "CountersignError";
}

/** The server could not be reached, or its answer was lost. Repeat a call only with its idempotency key. */
export class NoAnswer extends CountersignError {
  override name = "NoAnswer";
}

/** An answer that is not of this API, e.g. of a proxy or of another server. */
export class UnexpectedAnswer extends CountersignError {
  override name = "UnexpectedAnswer";
}

/** An error that the server names in `code`. A newer server may have more names. */
export class ApiError extends CountersignError {
  override name = "ApiError";
  readonly code: ErrorName;
  readonly status: number;

  constructor(code: ErrorName, status: number, message: string) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** The user has to open `authorization.url` first; then the same call runs. */
export class ConsentRequired extends ApiError {
  override name = "ConsentRequired";
  readonly authorization: AuthorizationAnswer;

  constructor(status: number, message: string, authorization: AuthorizationAnswer) {
    super("tool_authorization_required", status, message);
    this.authorization = authorization;
  }
}

/** The user has declined so often that they are not asked now. */
export class ConsentRefused extends ApiError {
  override name = "ConsentRefused";
}

/** The tool has failed. `kind` says why. */
export class ToolError extends CountersignError {
  override name = "ToolError";
  readonly kind: ErrorKind;
  readonly canRetry: boolean;
  readonly retryAfterMs: number | undefined;
  readonly statusCode: number | undefined;
  readonly error: ExecuteError;

  constructor(error: ExecuteError) {
    super(error.message);
    this.kind = error.kind;
    this.canRetry = error.can_retry;
    this.retryAfterMs = error.retry_after_ms ?? undefined;
    this.statusCode = error.status_code ?? undefined;
    this.error = error;
  }
}

/** The user has to confirm this call at `confirmation.confirmation_url`; then the same call runs. */
export class ConfirmationRequired extends ToolError {
  override name = "ConfirmationRequired";
  readonly confirmation: Confirmation;

  constructor(error: ExecuteError, confirmation: Confirmation) {
    super(error);
    this.confirmation = confirmation;
  }
}
