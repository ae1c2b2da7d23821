import CoreMetrics
import RoomCore
import RoomProtocol
import Testing
import TransportPluginAPI

@testable import RoomConnection

@Suite struct MetricsTests {
    /// Keeps recorded values, by label and dimensions.
    final class Recorder: MetricsFactory, Sendable {
        let values = Locked<[String: [Int64]]>([:])

        final class Handler: CounterHandler, TimerHandler, Sendable {
            private let recorder: Recorder
            private let name: String
            init(_ recorder: Recorder, _ label: String, _ dimensions: [(String, String)]) {
                self.recorder = recorder
                name = ([label] + dimensions.map { "\($0.0)=\($0.1)" }).joined(separator: " ")
            }
            func increment(by amount: Int64) { recorder.values.withLock { $0[name, default: []].append(amount) } }
            func reset() {}
            func recordNanoseconds(_ duration: Int64) {
                recorder.values.withLock { $0[name, default: []].append(duration) }
            }
        }

        func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
            Handler(self, label, dimensions)
        }
        func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
            Handler(self, label, dimensions)
        }
        func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
            NOOPMetricsHandler.instance
        }
        func destroyCounter(_ handler: any CounterHandler) {}
        func destroyRecorder(_ handler: any RecorderHandler) {}
        func destroyTimer(_ handler: any TimerHandler) {}
    }

    private func at(_ milliseconds: Int64) -> Timestamp { .zero + .milliseconds(milliseconds) }

    @Test func lossyMessagesThatWereNotSentAreCounted() {
        let recorder = Recorder()
        let metrics = RoomMetrics(factory: recorder)
        metrics.lossyDropped(2)
        metrics.lossyDropped(1)
        #expect(recorder.values.withLock { $0 } == ["room_lossy_dropped": [2, 1]])
    }

    @Test func anIncidentIsCountedAndItsStepsAreTimed() {
        let recorder = Recorder()
        let metrics = RoomMetrics(factory: recorder)
        metrics.record(
            RoomIncident(
                participant: nil, cause: .silence, startedAt: at(1000), endedAt: at(3500), rung: nil,
                outcome: .recovered,
                steps: [
                    .init(.lost, at: at(1000)), .init(.attempt, at: at(1200), number: 1),
                    .init(.attempt, at: at(3000), number: 2), .init(.connected, at: at(3400)),
                    .init(.resumed, at: at(3500)),
                ]))
        metrics.record(
            RoomIncident(
                participant: ParticipantID("p"), cause: .pathLost, startedAt: at(0), endedAt: at(90), rung: .restart,
                outcome: .participantLeft, steps: [.init(.detected, at: at(0))]))
        #expect(
            recorder.values.withLock { $0 } == [
                "room_incidents kind=signaling cause=silence outcome=recovered": [1],
                "room_incident_duration kind=signaling cause=silence": [2_500_000_000],
                "room_incident_step kind=signaling step=lost": [0],
                "room_incident_step kind=signaling step=attempt": [2_000_000_000],
                "room_incident_step kind=signaling step=connected": [2_400_000_000],
                "room_incident_step kind=signaling step=resumed": [2_500_000_000],
                "room_incidents kind=path cause=pathLost outcome=participantLeft": [1],
            ], "what was not healed has no time to be healed in")
    }
}
