/** The worker of `BackgroundClock`: says when so many milliseconds are over. */
onmessage = ({ data: { id, after } }) => { setTimeout(() => postMessage(id), after); };
