package cause

import "time"

const (
	// HeardWithin is how long who is there has after a stop of the process to be heard, at least.
	HeardWithin = 5 * time.Second
	// wordEach is how often who is there says something: to have listened for less proves nothing.
	wordEach = time.Second
)

// Waited is how much counts of a wait for a word, which is over after most, when the process
// stood still once more: of waited, in which it ran, it listened that long since the stop before.
// What is left is HeardWithin at least; where stops come faster than that, all of those pieces
// together. Else a process that is stopped again and again would miss nobody (rule H8).
func Waited(waited, listened, most time.Duration) time.Duration {
	leave := max(most-HeardWithin, 0)
	switch {
	case waited <= leave:
		return max(waited, 0)
	case waited-listened < leave, listened >= HeardWithin:
		return leave
	default:
		return min(waited-min(max(listened, 0), wordEach), most-wordEach)
	}
}
