/// Takes what a link delivers, on the loop.
protocol PeerLinkReceiver: AnyObject {
    func deliver(_ message: borrowing BorrowedMessage, link: PeerLink)
}
