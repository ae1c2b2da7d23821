import CommandLineIO
import Testing

@Suite("QR codes")
struct QRCodeTests {
    /// As those of `Tests/BrowserClient/page-qr-code.test.mjs`, which a reader has read.
    @Test(
        arguments: [
            ("HELLO", 21, 0x0A24_BA41_38B8_B059),
            ("http://192.168.1.20:8080/lobby", 29, 0x6F96_C2E4_3034_2A2C),
            ("https://rooms.example.org/#room=caf%C3%A9%20room", 33, 0x7B94_B403_FD94_5D3E),
            (String(repeating: "x", count: 100), 41, 0x4DF5_27AD_5D9D_1607),
            (String(repeating: "y", count: 150), 49, 0xDD84_5A45_DB5F_DE6A),
            (String(repeating: "z", count: 213), 57, 0xFF31_1E5C_5726_D6A2),
            (String(repeating: "q", count: 230), 53, 0xF44B_F29D_2E38_098A),
            ("ünïcödé ☃", 25, 0x7FC1_E913_50B7_804B),
        ] as [(String, Int, UInt64)])
    func codesAreThoseThatAReaderHasRead(_ text: String, _ size: Int, _ hash: UInt64) throws {
        let code = try #require(QRCode(text))
        #expect(code.rows.count == size)
        // FNV-1a.
        let found = code.rows.joined().reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ ($1 ? 1 : 0)) &* 0x100_0000_01B3 }
        #expect(found == hash)
    }

    @Test func textOverTheLargestVersionHasNone() {
        #expect(QRCode(String(repeating: "q", count: 271)) != nil)
        #expect(QRCode(String(repeating: "q", count: 272)) == nil)
    }

    @Test func terminalLinesHaveTheQuietZone() throws {
        let lines = try #require(QRCode("HELLO")).terminalLines
        #expect(lines.count == (21 + 8 + 1) / 2)
        let blank = "\u{1B}[30;107m" + String(repeating: " ", count: 29) + "\u{1B}[0m"
        #expect(lines[0] == blank && lines[1] == blank && lines.last == blank)
    }
}
