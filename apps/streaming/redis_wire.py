"""What the bus says to Redis: names of keys and channels, two scripts, and how deltas and events look on the wire.

One script call carries a whole flush. A pipeline of APPEND, PUBLISH and EXPIRE does the same work, but costs its writer twice the
CPU (measured) and compares only after writing: for one round trip a flushed Redis would hold headless text. The script
compares first, and takes away a snapshot it cannot continue, so that whatever readers find is whole.

The keys of one answer: a hash `prefix:live` with a field for each attempt, "<epoch> <state> <kind>,<kind>…", and the
text of each part under `prefix:live:attempt:part`. A zombie writes only to the field of its own, older attempt. The
epoch grows with every whole writing: what an abandoned connection delivers late cannot undo a later one.
"""

import json
from typing import Any

from apps.streaming.answers import Delta, PartText, Snapshot
from apps.streaming.bus import Event, live_topic

Arg = bytes | str | int

LIVE = "live"
ENDED = "ended"

_LIVE_PREFIX = live_topic("")

# Lone surrogates count as code points outside; Redis must take them as they are.
ERRORS = "surrogatepass"

# ARGV: milliseconds that a running answer's keys live without a write, number of operations, then the operations;
# KEYS: theirs, in the same order. Replies with the numbers of the operations whose answer must be written whole again.
WRITE = """
local k, a = 0, 2
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end
-- Writes are tried: a Redis that is full or read-only refuses them, and still passes on what is published.
local function try(...)
  local reply = redis.pcall(...)
  return not (type(reply) == 'table' and reply.err)
end
local function held(meta, attempt)
  local value = redis.pcall('HGET', meta, attempt)
  return type(value) == 'string' and value or ''
end
local function epoch_of(value) return tonumber(string.match(value, '^%d+') or '-1') end
local function forget(meta, attempt, epoch)
  if epoch_of(held(meta, attempt)) <= tonumber(epoch) then try('HDEL', meta, attempt) end
end

local function append(meta, attempt, epoch)
  local part, known, after, size, text, channel, head = key(), arg(), arg(), tonumber(arg()), arg(), arg(), arg()
  local ok = held(meta, attempt) == known and redis.pcall('STRLEN', part) == size
    and try('APPEND', part, text) and (known == after or try('HSET', meta, attempt, after))
  if ok then
    try('PEXPIRE', part, ARGV[1])
    try('PEXPIRE', meta, ARGV[1])
  else
    forget(meta, attempt, epoch)
  end
  redis.call('PUBLISH', channel, head .. text)
  return ok
end

local function whole(meta, attempt, epoch)
  local value, count, channel, event = arg(), tonumber(arg()), arg(), arg()
  local ok, late = true, epoch_of(held(meta, attempt)) >= tonumber(epoch)
  for i = 1, count do
    local part, text = key(), arg()
    ok = ok and (late or try('SET', part, text, 'PX', ARGV[1]))
  end
  ok = ok and (late or try('HSET', meta, attempt, value))
  if ok then try('PEXPIRE', meta, ARGV[1]) else forget(meta, attempt, epoch) end
  if event ~= '' then redis.call('PUBLISH', channel, event) end
  return ok
end

local function ended(meta, attempt, epoch)
  local known, value, keep, count = arg(), arg(), arg(), tonumber(arg())
  if held(meta, attempt) == known and try('HSET', meta, attempt, value) then
    try('PEXPIRE', meta, keep)
  else
    forget(meta, attempt, epoch)
  end
  for i = 1, count do try('PEXPIRE', key(), keep) end
  return true
end

local does = {append = append, whole = whole, ended = ended, forget = function(...) forget(...) return true end}
local failed = {}
for number = 1, tonumber(ARGV[2]) do
  local what = arg()
  if what == 'publish' then
    redis.call('PUBLISH', arg(), arg())
  elseif what ~= 'mark' and not does[what](key(), arg(), arg()) then
    failed[#failed + 1] = number - 1
  end
end
return failed
"""

# KEYS: the answer's hash. Replies with ARGV[1], and if a whole snapshot is there, newest attempt, its value and its parts.
READ = """
local best, value = '-1', nil
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if tonumber(fields[i]) > tonumber(best) then best, value = fields[i], fields[i + 1] end
end
local reply = {ARGV[1]}
if not value then return reply end
local texts = {}
for kind in string.gmatch(string.match(value, '%S*$'), '[^,]+') do
  local text = redis.call('GET', KEYS[1] .. ':' .. best .. ':' .. #texts)
  if not text then return reply end
  texts[#texts + 1] = text
end
reply = {ARGV[1], best, value}
for i = 1, #texts do reply[#reply + 1] = texts[i] end
return reply
"""


class Names:
    """Name keys and channels under one prefix, so that several instances can share a Redis."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def channel(self, topic: str) -> bytes:
        return f"{self._prefix}:{topic}".encode()

    def topic(self, channel: bytes) -> str:
        return channel.decode()[len(self._prefix) + 1 :]

    def meta(self, live: str) -> str:
        return f"{self._prefix}:{live}"

    def part(self, live: str, attempt: int, part: int) -> str:
        return f"{self._prefix}:{live}:{attempt}:{part}"


def head(attempt: int, part: int, kind: str, offset: int) -> bytes:
    """Write what stands before a delta's text; the answer itself is named by the channel."""
    return f"{attempt} {part} {kind} {offset}\n".encode()


def pack_event(event: Event) -> bytes:
    """Write an event that is no delta.

    Shape: what JSON does not know, such as a UUID, arrives as its string.
    """
    return json.dumps(event, default=str, separators=(",", ":")).encode()


def unpack(topic: str, data: bytes) -> Event:
    """Read what a channel carried.

    Raises: ValueError if nobody of ours wrote it.
    """
    if data[:1] == b"{":
        event: dict[str, Any] = json.loads(data)
        if "type" not in event:
            raise ValueError("An event without a type.")
        return event
    before, _, text = data.partition(b"\n")
    attempt, part, kind, offset = before.split(b" ")
    live = topic.removeprefix(_LIVE_PREFIX)
    delta = Delta(live, int(attempt), int(part), kind.decode(), int(offset), text.decode("utf-8", ERRORS))
    return {"type": "delta", "delta": delta}


def unpack_snapshot(live: str, reply: list[bytes]) -> Snapshot | None:
    """Read what READ replied.

    Raises: ValueError if it is about another answer: then it must reach nobody.
    """
    if not reply or reply[0] != live.encode():
        raise ValueError("A reply about another answer.")
    if len(reply) == 1:
        return None
    _, state, kinds = reply[2].decode().split(" ")
    parts = zip(kinds.split(",") if kinds else (), reply[3:], strict=True)
    texts = tuple(PartText(kind, text.decode("utf-8", ERRORS)) for kind, text in parts)
    return Snapshot(int(reply[1]), texts, ended=state == ENDED)


def is_live(topic: str) -> bool:
    """Tell whether a topic carries an answer's text."""
    return topic.startswith(_LIVE_PREFIX)
