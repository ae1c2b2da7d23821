import RoomCore
import Testing
import TransportValues

@Suite struct DeliveryChannelsTests {
    private func id(_ number: Int) -> ChannelID { ChannelID(rawValue: number) }
    private func parameters(_ channel: DeliveryChannel) -> ChannelParameters { channel.parameters(.exchange) }

    private func make(isOpener: Bool) -> DeliveryChannels {
        var channels = DeliveryChannels(.exchange)
        channels.connectionBegan(isOpener: isOpener)
        for channel in DeliveryChannel.allCases { _ = channels.opened(id(channel.rawValue), parameters(channel)) }
        return channels
    }

    @Test func eachChannelIsRecognisedByItsParameters() {
        for channel in DeliveryChannel.allCases {
            for level in DeliveryLevel.allCases {
                let isThere = level.channels.contains(channel)
                #expect(DeliveryChannel(channel.parameters(level), level) == (isThere ? channel : nil))
            }
        }
        var unordered = parameters(.reliable)
        unordered.isOrdered = false
        #expect(DeliveryChannel(unordered, .delivery) == nil, "the reliable stream needs an ordered channel")
        unordered.label = DeliveryChannel.bulk.parameters(.exchange).label
        #expect(DeliveryChannel(unordered, .exchange) == nil, "and so does bulk")
        #expect(DeliveryChannel(ChannelParameters(label: "chat"), .exchange) == nil)
        #expect(DeliveryChannel(DeliveryChannel.reliable.parameters(.plain), .delivery) == nil)
    }

    @Test func aBlockedChannelTakesNothingUntilItIsWritable() {
        var channels = make(isOpener: true)
        channels.blocked(.unordered)
        #expect(channels.writable(.unordered) == nil && channels.writable(.lossy) == id(2))
        #expect(channels.isOpen(.unordered))
        let channel = channels.writableAgain(id(1))
        #expect(channel == .unordered && channels.writable(.unordered) == id(1))
    }

    /// Once at once, then after longer and longer pauses while the other side goes on closing it.
    @Test func theOpenerOpensAClosedChannelAgain() {
        var channels = make(isOpener: true)
        var delays: [Duration] = []
        for number in 10..<14 {
            let closing = channels.closed(
                channels.id(of: .reliable) ?? id(0), now: .zero + .seconds(number))
            guard case .reopen(.reliable, let delay) = closing else {
                Issue.record("\(closing)")
                return
            }
            delays.append(delay)
            #expect(channels.channel(of: id(number)) == nil)
            channels.opening(.reliable, as: id(number))
            _ = channels.opened(id(number), parameters(.reliable))
        }
        #expect(delays == [.zero, .seconds(1), .seconds(2), .seconds(4)])
    }

    /// Of a plain channel there may be two; of a reliable stream only one.
    @Test func theOtherSideOpensOnlyPlainChannelsAndLater() {
        var channels = make(isOpener: false)
        let reliable = channels.closed(id(0), now: .zero)
        let unordered = channels.closed(id(1), now: .zero)
        #expect(reliable == .left(.reliable))
        #expect(unordered == .reopen(.unordered, after: DeliveryChannels.openersHeadStart))
    }

    @Test func aSecondPlainChannelIsReadAndTakesTheFirstOnesPlace() {
        var channels = make(isOpener: true)
        let isUsed = channels.opened(id(7), parameters(.unordered))
        #expect(isUsed == nil)
        #expect(channels.channel(of: id(7)) == .unordered && channels.id(of: .unordered) == id(1))
        let closing = channels.closed(id(1), now: .zero)
        #expect(closing == .replaced(.unordered, by: id(7)))
        #expect(channels.writable(.unordered) == id(7))
        let ignored = channels.closed(id(1), now: .zero)
        #expect(ignored == .ignored)
    }

    @Test func theNumberOfFurtherChannelsIsBounded() {
        var channels = make(isOpener: true)
        for number in 100..<200 { _ = channels.opened(id(number), parameters(.lossy)) }
        let read = (100..<200).filter { channels.channel(of: id($0)) != nil }
        #expect(read.count == DeliveryChannels.maximumExtras)
    }

    @Test func aSecondReliableChannelTakesTheFirstOnesPlaceAtOnce() {
        var channels = make(isOpener: true)
        let used = channels.opened(id(9), parameters(.reliable))
        #expect(used == .reliable && channels.writable(.reliable) == id(9))
        let closing = channels.closed(id(0), now: .zero)
        #expect(closing == .ignored && channels.isOpen(.reliable))
    }

    @Test func aChannelThatFailedIsClosed() {
        var channels = make(isOpener: true)
        let failed = channels.failed(.lossy)
        #expect(failed == id(2) && channels.writable(.lossy) == nil)
    }
}
