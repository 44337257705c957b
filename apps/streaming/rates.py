"""How often: buckets that fill steadily and are emptied by what comes. Whoever is turned away, the caller decides how."""


class Bucket:
    """Let things through at a steady rate, and some at once after a quiet time.

    Units: rate in things per second, by the clock whose time is given as `now`.
    """

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Tell whether one more may come, and count it if so."""
        self._fill(now)
        if cost > self._left:
            return False
        self._left -= cost
        return True

    def is_full(self, now: float) -> bool:
        """Tell whether nothing has come for so long that forgetting the bucket changes nothing."""
        self._fill(now)
        return self._left >= self._burst

    def _fill(self, now: float) -> None:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now


class Buckets:
    """Hold a bucket for each key, and forget those that are full when there are many.

    Units: as for Bucket; `many` counts keys.
    """

    def __init__(self, rate: float, burst: float, *, many: int = 1_000) -> None:
        self._rate = rate
        self._burst = burst
        self._fewest = self._many = many
        self._held: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._held)

    def take(self, key: str, now: float) -> bool:
        """Tell whether one more of this key may come, and count it if so."""
        bucket = self._held.get(key)
        if bucket is None:
            if len(self._held) >= self._many:
                self._forget(now)
            bucket = self._held[key] = Bucket(self._rate, self._burst, now)
        return bucket.take(now)

    def _forget(self, now: float) -> None:
        self._held = {key: bucket for key, bucket in self._held.items() if not bucket.is_full(now)}
        # Twice as many before the next look: looking costs each newcomer the same, however many there are.
        self._many = max(self._fewest, 2 * len(self._held))
