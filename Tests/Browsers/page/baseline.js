// One data channel between this page and baseline.py, without a room: what the browser itself can do. The runner
// carries descriptions and candidates.

const report = (event, fields = {}) =>
    emit(JSON.stringify({ event, t: (performance.timeOrigin + performance.now()) / 1000, ...fields }));

const connection = new RTCPeerConnection();
const channel = connection.createDataChannel("baseline");
channel.binaryType = "arraybuffer";
channel.onopen = () => report("open");
connection.onicecandidate = ({ candidate }) => {
    if (candidate?.candidate) report("candidate", { candidate: candidate.candidate, mid: candidate.sdpMid });
};

globalThis.baseline = {
    async offer() {
        await connection.setLocalDescription();
        return connection.localDescription.sdp;
    },
    answer: (sdp) => connection.setRemoteDescription({ type: "answer", sdp }),
    candidate: (candidate, sdpMid) => connection.addIceCandidate({ candidate, sdpMid }),
    echo() {
        channel.onmessage = ({ data }) => channel.send(data);
    },
    count() {
        const count = (globalThis.counted = { messages: 0, bytes: 0, first: 0, last: 0 });
        let told = 0;
        channel.onmessage = ({ data }) => {
            count.last = performance.now();
            count.first ||= count.last;
            count.messages++;
            count.bytes += data.byteLength;
            if (count.bytes - told >= 1 << 18) channel.send(String((told = count.bytes)));
        };
    },
    roundTrips(count) {
        const times = [];
        const message = new Uint8Array(64);
        let sentAt = 0;
        const send = () => {
            sentAt = performance.now();
            channel.send(message);
        };
        return new Promise((resolve) => {
            channel.onmessage = () => {
                times.push(performance.now() - sentAt);
                if (times.length < count) return send();
                times.sort((a, b) => a - b);
                resolve(times[count >> 1] * 1000);
            };
            send();
        });
    },
};
report("ready");
