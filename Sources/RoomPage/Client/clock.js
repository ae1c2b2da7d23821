/** The worker of `BackgroundClock`: says when so many milliseconds are over. No time: that timer is cancelled. */
const timers = new Map();

onmessage = ({ data: { id, after } }) => {
    clearTimeout(timers.get(id));
    timers.delete(id);
    if (after === undefined) return;
    timers.set(id, setTimeout(() => {
        timers.delete(id);
        postMessage(id);
    }, after));
};
