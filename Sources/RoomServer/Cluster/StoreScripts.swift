/// The requests to the store as Lua scripts: each is one atomic operation. `StoreRequest` says what they do.
///
/// `KEYS[1]` is the key of the fence and decides the slot; `ARGV[1]` is the prefix of all keys. Numbers stay below 2^53
/// and are written without exponents.
enum StoreScripts {
    private static let preamble = """
        local P = ARGV[1]
        local function number(v) return tonumber(v) or 0 end
        local function text(n) return string.format('%.0f', n) end
        local function lease_key(node) return P .. 'node:' .. node end
        local function room_key(room) return P .. 'room:' .. room end
        local function marks_key(room) return P .. 'marks:' .. room end
        local nodes_key = P .. 'nodes'
        local function holds(node, incarnation)
            return redis.call('HGET', lease_key(node), 'incarnation') == incarnation
        end
        local function record_of(room)
            local v = redis.call('HMGET', room_key(room), 'node', 'incarnation', 'fence')
            if not v[1] then return nil end
            return {node = v[1], incarnation = v[2], fence = number(v[3])}
        end
        local function lease_of(record)
            local v = redis.call('HMGET', lease_key(record.node), 'incarnation', 'address', 'draining', 'renewals')
            if v[1] ~= record.incarnation then return nil end
            return {address = v[2] or '', draining = v[3] or '0', renewals = v[4] or '0'}
        end
        local function last_fence() return number(redis.call('GET', KEYS[1])) end
        local function count_up(a, b)
            local fence = math.max(a, b, last_fence()) + 1
            redis.call('SET', KEYS[1], text(fence))
            return fence
        end
        local function prolong(room) redis.call('PEXPIRE', room_key(room), \(recordMilliseconds)) end
        local function write(room, node, incarnation, fence)
            redis.call('HSET', room_key(room), 'node', node, 'incarnation', incarnation, 'fence', text(fence))
            prolong(room)
        end
        local function note_loss(record)
            if record and lease_of(record) then redis.call('HINCRBY', lease_key(record.node), 'losses', 1) end
        end
        local function owner(record, lease)
            return {'owner', record.node, record.incarnation, text(record.fence), lease.address, lease.draining,
                lease.renewals}
        end
        local function now()
            local t = redis.call('TIME')
            return number(t[1]) * 1000 + math.floor(number(t[2]) / 1000)
        end
        local function raise(fence)
            if last_fence() < fence then redis.call('SET', KEYS[1], text(fence)) end
        end
        local function marks_of(room, limit)
            redis.call('ZREMRANGEBYSCORE', marks_key(room), '-inf', text(now()))
            return redis.call('ZREVRANGE', marks_key(room), 0, number(limit) - 1)
        end

        """

    /// The life of a room's record without a claim or an assertion: 24 hours.
    static let recordMilliseconds = 86_400_000

    private static func script(_ text: String) -> RedisScript { RedisScript(preamble + text) }

    /// Node, incarnation, address, draining, milliseconds, whether it is the first, the request's number.
    static let renewLease = script(
        """
        local node, incarnation = ARGV[2], ARGV[3]
        local v = redis.call('HMGET', lease_key(node), 'incarnation', 'losses', 'renewals', 'birth')
        local held, losses, renewals, birth = 0, 0, 1, number(ARGV[8])
        if v[1] == incarnation then
            held, losses, renewals, birth = 1, number(v[2]), number(v[3]) + 1, number(v[4])
        elseif v[1] and ARGV[7] == '0' and number(v[1]) > number(incarnation) then
            return {'superseded'}
        end
        redis.call('HSET', lease_key(node), 'incarnation', incarnation, 'address', ARGV[4], 'draining', ARGV[5],
            'losses', text(losses), 'renewals', text(renewals), 'birth', text(birth))
        redis.call('PEXPIRE', lease_key(node), ARGV[6])
        redis.call('ZADD', nodes_key, text(now() + number(ARGV[6])), node)
        redis.call('PEXPIRE', nodes_key, \(recordMilliseconds))
        return {'renewed', held, text(losses), text(birth)}
        """)

    /// Node, incarnation.
    static let dropLease = script(
        """
        if holds(ARGV[2], ARGV[3]) then
            redis.call('DEL', lease_key(ARGV[2]))
            redis.call('ZREM', nodes_key, ARGV[2])
        end
        return {'done'}
        """)

    /// Room, node, incarnation, seen, the limit of marks; then node, incarnation and renewals of each one that is gone.
    static let claim = script(
        """
        local room, node, incarnation, seen = ARGV[2], ARGV[3], ARGV[4], number(ARGV[5])
        if not holds(node, incarnation) then return {'noLease'} end
        local function claimed(fence, previous)
            local before = {}
            if previous then before = {previous.node, previous.incarnation, text(previous.fence)} end
            return {'claimed', text(fence), marks_of(room, ARGV[6]), before}
        end
        local record = record_of(room)
        if record and record.node == node and record.incarnation == incarnation then
            if record.fence >= seen then
                prolong(room)
                return claimed(record.fence, nil)
            end
            local fence = count_up(record.fence, seen)
            write(room, node, incarnation, fence)
            return claimed(fence, nil)
        end
        local lease = record and lease_of(record)
        if lease then
            local gone = false
            for i = 7, #ARGV, 3 do
                if ARGV[i] == record.node and ARGV[i + 1] == record.incarnation and ARGV[i + 2] == lease.renewals then
                    gone = true
                end
            end
            if not gone then return owner(record, lease) end
        end
        note_loss(record)
        local fence = count_up(record and record.fence or 0, seen)
        write(room, node, incarnation, fence)
        return claimed(fence, record)
        """)

    /// Room.
    static let readRoom = script(
        """
        local record = record_of(ARGV[2])
        local lease = record and lease_of(record)
        if lease then return owner(record, lease) end
        return {'free'}
        """)

    /// Nothing.
    static let readNodes = script(
        """
        redis.call('ZREMRANGEBYSCORE', nodes_key, '-inf', text(now()))
        local found = {}
        for _, node in ipairs(redis.call('ZRANGE', nodes_key, 0, 999)) do
            local v = redis.call('HMGET', lease_key(node), 'incarnation', 'address', 'draining', 'renewals')
            if v[1] then found[#found + 1] = {node, v[1], v[2] or '', v[3] or '0', v[4] or '0'} end
        end
        return {'nodes', found}
        """)

    /// Node, incarnation, the limit of marks; then room and fence of each assertion.
    static let reassert = script(
        """
        local node, incarnation = ARGV[2], ARGV[3]
        if not holds(node, incarnation) then return {'noLease'} end
        local outcomes = {}
        for i = 5, #ARGV, 2 do
            local room, fence = ARGV[i], number(ARGV[i + 1])
            local record = record_of(room)
            local lost, known = false, false
            if record and record.node == node and record.incarnation == incarnation then
                fence = math.max(fence, record.fence)
                known = true
            elseif record and record.fence >= fence then
                if lease_of(record) then
                    lost = true
                else
                    fence = count_up(record.fence, fence)
                end
            elseif record then
                note_loss(record)
            end
            if lost then
                outcomes[#outcomes + 1] = {'lost', record.node, record.incarnation, text(record.fence)}
            else
                write(room, node, incarnation, fence)
                raise(fence)
                outcomes[#outcomes + 1] = {'kept', text(fence), known and {} or marks_of(room, ARGV[4])}
            end
        end
        return {'asserted', outcomes}
        """)

    /// Room, node, incarnation, fence.
    static let release = script(
        """
        local record = record_of(ARGV[2])
        if record and record.node == ARGV[3] and record.incarnation == ARGV[4] and record.fence <= number(ARGV[5]) then
            redis.call('DEL', room_key(ARGV[2]))
        end
        return {'done'}
        """)

    /// The limit of marks; then room, text, milliseconds and fence of each one.
    static let writeMarks = script(
        """
        local limit, time = number(ARGV[2]), now()
        for i = 3, #ARGV, 4 do
            local key, mark, life = marks_key(ARGV[i]), ARGV[i + 1], number(ARGV[i + 2])
            redis.call('ZREMRANGEBYSCORE', key, '-inf', text(time))
            if life <= 0 then
                local record = record_of(ARGV[i])
                if not record or record.fence <= number(ARGV[i + 3]) then redis.call('ZREM', key, mark) end
            else
                local closed = string.match(mark, '^c:(%d+)$')
                if closed then raise(number(closed)) end
                local score = math.max(number(redis.call('ZSCORE', key, mark)), time + life)
                redis.call('ZADD', key, text(score), mark)
                redis.call('ZREMRANGEBYRANK', key, 0, -(limit + 1))
            end
            local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
            if last[2] then redis.call('PEXPIREAT', key, text(number(last[2]))) end
        end
        return {'done'}
        """)
}
