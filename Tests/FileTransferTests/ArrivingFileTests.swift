import Foundation
import Hashing
import Testing
import TransportPluginAPI

@testable import FileTransfer

/// The writing of a file that arrives.
struct ArrivingFileTests {
    @Test func aBatchOfManyPiecesIsWrittenWholeAndInOrder() throws {
        let desk = try Desk()
        let content = Desk.bytes(5000)
        let entry = Manifest.Entry(
            kind: .file, path: try ArrivingPath("file"), size: 5000, modifiedAt: 0, mode: 0o600)
        let file = ArrivingFile(entry, in: try OpenFolder(named: desk.target.path))
        #expect(try file.begin(at: 0))
        let payload = Payload(content)
        // More pieces than one call of the system takes.
        try file.write(stride(from: 0, to: 5000, by: 2).map { (payload, $0..<($0 + 2)) })
        #expect(file.position == 5000)
        #expect(try file.finish(Crypto.sha256(content), as: "file", .refuse) == "file")
        #expect(desk.arrived("file") == content)
    }
}
