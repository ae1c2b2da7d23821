"""What the connections of `room_client.Pair` on all stacks have."""


class Engine:
    can_restart = False

    def __init__(self, pair, peer):
        self.pair = pair
        self.peer = peer
        self.channels = {}
