//# allFunctionsCalledOnLoad

/**
 * Calls `callback` when the signal is aborted. Returns how that is cancelled.
 * @param {AbortSignal | undefined} signal
 * @param {() => void} callback
 */
export function whenAborted(signal, callback) {
    signal?.addEventListener("abort", callback);
    return () => signal?.removeEventListener("abort", callback);
}

/**
 * Runs `body` with a signal that is aborted with another one, or after so many seconds.
 * @template Result
 * @param {import("./pair-types.js").Schedule} schedule
 * @param {number} within
 * @param {AbortSignal | undefined} signal
 * @param {(signal: AbortSignal) => Promise<Result>} body
 */
export async function withDeadline(schedule, within, signal, body) {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const removals = [schedule(within, abort), whenAborted(signal, abort)];
    if (signal?.aborted) abort();
    try {
        return await body(controller.signal);
    } finally {
        for (const remove of removals) remove();
    }
}
