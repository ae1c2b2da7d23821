/**
 * QR codes of model 2 (ISO/IEC 18004), in byte mode, versions 1 to 10, with error correction of level M where the text
 * fits, else L.
 */

// By version, 1 to 10: codewords of error correction in each block, and the number of blocks (ISO/IEC 18004, table 9).
const LEVELS = [
    { format: 0, correction: [10, 16, 26, 18, 24, 16, 18, 22, 22, 26], blocks: [1, 1, 1, 2, 2, 4, 4, 4, 5, 5] },
    { format: 1, correction: [7, 10, 15, 20, 26, 18, 20, 24, 30, 18], blocks: [1, 1, 1, 1, 1, 2, 2, 2, 2, 4] },
];
// By version: the centres of the alignment patterns.
const ALIGNMENT = [
    [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50],
];
// By version: codewords of data and error correction together.
const CODEWORDS = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346];

/** @type {((x: number, y: number) => number)[]} */
const MASKS = [
    (x, y) => (x + y) % 2, (x, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3,
    (x, y) => ((x / 3 | 0) + (y / 2 | 0)) % 2, (x, y) => (x * y) % 2 + (x * y) % 3,
    (x, y) => ((x * y) % 2 + (x * y) % 3) % 2, (x, y) => ((x + y) % 2 + (x * y) % 3) % 2,
];

/**
 * Returns the code of a text as rows of modules: true is dark. Without the quiet zone, which is four modules wide.
 * Undefined when the text is too long (271 bytes).
 * @param {string} text
 * @returns {boolean[][] | undefined}
 */
export function qrCode(text) {
    const bytes = new TextEncoder().encode(text);
    for (const level of LEVELS) {
        for (let version = 1; version <= 10; version++) {
            const capacity = CODEWORDS[version - 1] - level.correction[version - 1] * level.blocks[version - 1];
            const headerBits = 4 + (version < 10 ? 8 : 16);
            if (headerBits + bytes.length * 8 > capacity * 8) continue;
            const codewords = interleave(dataCodewords(bytes, version, capacity), version, level);
            return draw(codewords, version, level.format);
        }
    }
}

/**
 * The mode, the length, the bytes, and the padding.
 * @param {Uint8Array} bytes @param {number} version @param {number} capacity
 */
function dataCodewords(bytes, version, capacity) {
    /** @type {number[]} */
    const bits = [];
    const add = (/** @type {number} */ value, /** @type {number} */ count) => {
        for (let bit = count - 1; bit >= 0; bit--) bits.push(value >> bit & 1);
    };
    add(4, 4);
    add(bytes.length, version < 10 ? 8 : 16);
    for (const byte of bytes) add(byte, 8);
    add(0, Math.min(4, capacity * 8 - bits.length));
    while (bits.length % 8) bits.push(0);
    const words = [];
    for (let at = 0; at < bits.length; at += 8) words.push(parseInt(bits.slice(at, at + 8).join(""), 2));
    for (let pad = 0xEC; words.length < capacity; pad ^= 0xEC ^ 0x11) words.push(pad);
    return words;
}

/**
 * Splits the data into blocks, and puts the blocks with their error correction one into another.
 * @param {number[]} data @param {number} version @param {typeof LEVELS[0]} level
 */
function interleave(data, version, level) {
    const count = level.blocks[version - 1];
    const correction = level.correction[version - 1];
    const divisor = generator(correction);
    const short = Math.floor(data.length / count);
    const longBlocks = data.length % count;
    const blocks = [];
    for (let block = 0, at = 0; block < count; block++) {
        const length = short + (block >= count - longBlocks ? 1 : 0);
        const words = data.slice(at, at += length);
        blocks.push({ words, remainder: remainder(words, divisor) });
    }
    const result = [];
    for (let index = 0; index <= short; index++) {
        for (const { words } of blocks) if (index < words.length) result.push(words[index]);
    }
    for (let index = 0; index < correction; index++) for (const block of blocks) result.push(block.remainder[index]);
    return result;
}

/**
 * Multiplies in GF(2⁸) modulo x⁸ + x⁴ + x³ + x² + 1.
 * @param {number} left @param {number} right
 */
function multiply(left, right) {
    let product = 0;
    for (let bit = 7; bit >= 0; bit--) {
        product = product << 1 ^ (product >> 7) * 0x11D;
        if (right >> bit & 1) product ^= left;
    }
    return product;
}

/**
 * The product of (x − 2⁰) … (x − 2ⁿ⁻¹), without its first coefficient, which is 1.
 * @param {number} degree
 */
function generator(degree) {
    const result = new Array(degree).fill(0);
    result[degree - 1] = 1;
    for (let root = 1, power = 0; power < degree; power++, root = multiply(root, 2)) {
        for (let index = 0; index < degree; index++) {
            result[index] = multiply(result[index], root) ^ (result[index + 1] || 0);
        }
    }
    return result;
}

/** @param {number[]} words @param {number[]} divisor */
function remainder(words, divisor) {
    const result = new Array(divisor.length).fill(0);
    for (const word of words) {
        const factor = word ^ result.shift();
        result.push(0);
        divisor.forEach((coefficient, index) => { result[index] ^= multiply(coefficient, factor); });
    }
    return result;
}

/** @param {number[]} codewords @param {number} version @param {number} format */
function draw(codewords, version, format) {
    const size = version * 4 + 17;
    const modules = Array.from({ length: size }, () => new Array(size).fill(false));
    const reserved = Array.from({ length: size }, () => new Array(size).fill(false));
    const set = (/** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ isDark) => {
        if (x < 0 || y < 0 || x >= size || y >= size) return;
        modules[y][x] = isDark;
        reserved[y][x] = true;
    };
    for (let at = 0; at < size; at++) {
        set(6, at, at % 2 === 0);
        set(at, 6, at % 2 === 0);
    }
    for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
        for (let dy = -4; dy <= 4; dy++) {
            for (let dx = -4; dx <= 4; dx++) {
                const ring = Math.max(Math.abs(dx), Math.abs(dy));
                set(x + dx, y + dy, ring !== 2 && ring !== 4);
            }
        }
    }
    const centres = ALIGNMENT[version - 1];
    const last = centres.length - 1;
    centres.forEach((x, column) => centres.forEach((y, row) => {
        if ((column === 0 && (row === 0 || row === last)) || (column === last && row === 0)) return;
        for (let dy = -2; dy <= 2; dy++) {
            for (let dx = -2; dx <= 2; dx++) set(x + dx, y + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
        }
    }));
    if (version >= 7) {
        const bits = version << 12 | checkBits(version, 12, 0x1F25);
        for (let bit = 0; bit < 18; bit++) {
            const [a, b] = [size - 11 + bit % 3, Math.floor(bit / 3)];
            set(a, b, (bits >> bit & 1) === 1);
            set(b, a, (bits >> bit & 1) === 1);
        }
    }
    drawFormat(set, size, format, 0);
    place(codewords, modules, reserved);

    let best = { masked: modules, score: Infinity };
    for (let mask = 0; mask < 8; mask++) {
        const masked = modules.map((row, y) => row.map((isDark, x) =>
            reserved[y][x] ? isDark : isDark !== (MASKS[mask](x, y) === 0)));
        drawFormat((x, y, isDark) => { masked[y][x] = isDark; }, size, format, mask);
        const score = penalty(masked);
        if (score < best.score) best = { masked, score };
    }
    return best.masked;
}

/**
 * The remainder of the division of a value by a polynomial: the bits that protect it.
 * @param {number} value @param {number} count @param {number} polynomial
 */
function checkBits(value, count, polynomial) {
    let rest = value;
    for (let bit = 0; bit < count; bit++) rest = rest << 1 ^ (rest >> count - 1) * polynomial;
    return rest;
}

/**
 * @param {(x: number, y: number, isDark: boolean) => void} set @param {number} size @param {number} format
 * @param {number} mask
 */
function drawFormat(set, size, format, mask) {
    const value = format << 3 | mask;
    const bits = (value << 10 | checkBits(value, 10, 0x537)) ^ 0x5412;
    const isDark = (/** @type {number} */ bit) => (bits >> bit & 1) === 1;
    for (let bit = 0; bit < 15; bit++) {
        // Around the finder at the top left; then along the other two.
        const along = bit < 6 ? bit : bit < 8 ? bit + 1 : 14 - bit + (bit === 8 ? 1 : 0);
        if (bit < 8) set(8, along, isDark(bit)); else set(along, 8, isDark(bit));
        if (bit < 8) set(size - 1 - bit, 8, isDark(bit)); else set(8, size - 15 + bit, isDark(bit));
    }
    set(8, size - 8, true);
}

/**
 * Places the bits in columns of two, from the right, up and down in turn.
 * @param {number[]} codewords @param {boolean[][]} modules @param {boolean[][]} reserved
 */
function place(codewords, modules, reserved) {
    const size = modules.length;
    let bit = 0;
    for (let right = size - 1; right >= 1; right -= 2) {
        if (right === 6) right = 5;
        for (let step = 0; step < size; step++) {
            const y = (right + 1 & 2) === 0 ? size - 1 - step : step;
            for (const x of [right, right - 1]) {
                if (reserved[y][x] || bit >= codewords.length * 8) continue;
                modules[y][x] = (codewords[bit >> 3] >> 7 - (bit & 7) & 1) === 1;
                bit++;
            }
        }
    }
}

/**
 * How hard a code is to read (ISO/IEC 18004 §7.8.3).
 * @param {boolean[][]} modules
 */
function penalty(modules) {
    const size = modules.length;
    let score = 0;
    let dark = 0;
    const lines = [...modules, ...modules.map((_, x) => modules.map((row) => row[x]))];
    for (const line of lines) {
        const text = line.map((isDark) => isDark ? "1" : "0").join("");
        for (const run of text.match(/0{5,}|1{5,}/g) || []) score += run.length - 2;
        for (let at = 0; at + 11 <= size; at++) {
            const part = text.slice(at, at + 11);
            if (part === "10111010000" || part === "00001011101") score += 40;
        }
    }
    for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x++) {
            if (modules[y][x]) dark++;
            if (x && y && modules[y][x] === modules[y][x - 1] && modules[y][x] === modules[y - 1][x]
                && modules[y][x] === modules[y - 1][x - 1]) score += 3;
        }
    }
    const percent = dark * 100 / (size * size);
    return score + Math.floor(Math.abs(percent - 50) / 5) * 10;
}
