/** SHA-256, piece by piece (FIPS 180-4). The browser's own has no pieces, and is missing on pages of plain http. */

const K = new Int32Array(64);
const START = new Int32Array(8);

/** The first 32 bits of the fraction of a number. */
const fraction = (/** @type {number} */ value) => (value - Math.floor(value)) * 0x100000000 | 0;

for (let number = 2, count = 0; count < 64; number++) {
    let isPrime = true;
    for (let factor = 2; factor * factor <= number; factor++) if (number % factor === 0) isPrime = false;
    if (!isPrime) continue;
    if (count < 8) START[count] = fraction(Math.sqrt(number));
    K[count++] = fraction(Math.cbrt(number));
}

export class SHA256 {
    constructor() {
        this.state = START.slice();
        this.block = new Uint8Array(64);
        /** Bytes so far. */
        this.count = 0;
        this.words = new Int32Array(64);
    }

    /** @param {Uint8Array} bytes */
    update(bytes) {
        let at = 0;
        const held = this.count % 64;
        this.count += bytes.length;
        if (held) {
            at = Math.min(64 - held, bytes.length);
            this.block.set(bytes.subarray(0, at), held);
            if (held + at < 64) return;
            this.mix(this.block, 0);
        }
        for (; at + 64 <= bytes.length; at += 64) this.mix(bytes, at);
        this.block.set(bytes.subarray(at));
    }

    /** The digest of everything so far. More can follow. */
    digest() {
        const last = new SHA256();
        last.state.set(this.state);
        last.block.set(this.block);
        last.count = this.count;
        const padding = new Uint8Array((this.count % 64 < 56 ? 56 : 120) - this.count % 64 + 8);
        padding[0] = 0x80;
        const view = new DataView(padding.buffer);
        view.setUint32(padding.length - 8, Math.floor(this.count / 0x20000000));
        view.setUint32(padding.length - 4, this.count * 8 >>> 0);
        last.update(padding);
        const digest = new DataView(new ArrayBuffer(32));
        last.state.forEach((word, index) => digest.setInt32(index * 4, word));
        return new Uint8Array(digest.buffer);
    }

    /** @param {Uint8Array} bytes @param {number} at */
    mix(bytes, at) {
        const w = this.words;
        for (let i = 0; i < 16; i++, at += 4) {
            w[i] = bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3];
        }
        for (let i = 16; i < 64; i++) {
            const x = w[i - 15];
            const y = w[i - 2];
            const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
            const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1 | 0;
        }
        const state = this.state;
        // No destructuring here: it makes this ten times slower.
        let a = state[0], b = state[1], c = state[2], d = state[3];
        let e = state[4], f = state[5], g = state[6], h = state[7];
        for (let i = 0; i < 64; i++) {
            const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
            const t1 = h + s1 + (e & f ^ ~e & g) + K[i] + w[i] | 0;
            const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
            const t2 = s0 + (a & b ^ a & c ^ b & c) | 0;
            h = g; g = f; f = e; e = d + t1 | 0; d = c; c = b; b = a; a = t1 + t2 | 0;
        }
        state[0] += a; state[1] += b; state[2] += c; state[3] += d;
        state[4] += e; state[5] += f; state[6] += g; state[7] += h;
    }
}
