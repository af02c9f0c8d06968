package record

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"sentinel.home.arpa/shared/daemon"
)

// alsoMost bounds the spans of a cursor: where lines that were told and such that wait
// alternate for longer, the last of them may be delivered again.
const alsoMost = 512

// cursor is the file that says what a brain has.
type cursor struct {
	Delivered int64  `json:"delivered"`      // all lines up to this one
	Also      []span `json:"also,omitempty"` // and these beyond it, in their order
}

// span is from its first line to its last.
type span [2]int64

// cursorOf is what a brain has when these lines wait for it, of all up to the last.
func cursorOf(waiting []held, last int64) cursor {
	if len(waiting) == 0 {
		return cursor{Delivered: last}
	}
	c := cursor{Delivered: waiting[0].N - 1}
	for i, h := range waiting {
		next := last + 1
		if i+1 < len(waiting) {
			next = waiting[i+1].N
		}
		if next > h.N+1 && len(c.Also) < alsoMost {
			c.Also = append(c.Also, span{h.N + 1, next - 1})
		}
	}
	return c
}

func (c cursor) equals(o cursor) bool {
	return c.Delivered == o.Delivered && slices.Equal(c.Also, o.Also)
}

// has reports whether a brain has a line.
func (c cursor) has(n int64) bool {
	return n <= c.Delivered || slices.ContainsFunc(c.Also, func(s span) bool { return s[0] <= n && n <= s[1] })
}

// end is the last line that it speaks of: no later one may have its number.
func (c cursor) end() int64 {
	if len(c.Also) == 0 {
		return c.Delivered
	}
	return max(c.Delivered, c.Also[len(c.Also)-1][1])
}

// validate refuses what cannot be.
func (c cursor) validate() error {
	if c.Delivered < 0 || c.Delivered > maxN || len(c.Also) > alsoMost {
		return fmt.Errorf("%d and %d spans cannot be", c.Delivered, len(c.Also))
	}
	before := c.Delivered
	for _, s := range c.Also {
		if s[0] <= before || s[1] < s[0] || s[1] > maxN {
			return fmt.Errorf("a span from %d to %d cannot be", s[0], s[1])
		}
		before = s[1]
	}
	return nil
}

// readCursor reads what was delivered. Without the file each line tells what was when it
// was written.
func (r *Record) readCursor(lines []line) cursor {
	told := int64(0)
	for _, l := range lines {
		told = max(told, l.Told)
	}
	data, err := tail(filepath.Join(r.dir, cursorFile))
	var c cursor
	switch {
	case err == nil && data == nil:
		return cursor{Delivered: told}
	case err == nil:
		err = json.Unmarshal(data, &c)
	}
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		r.log.Error("the record's cursor is unreadable, the last entries may be delivered again", "err", err)
		return cursor{Delivered: told}
	}
	c.Delivered = max(c.Delivered, told)
	return c
}

func (r *Record) writeCursor(c cursor) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return daemon.WriteFile(filepath.Join(r.dir, cursorFile), append(data, '\n'), 0o600)
}
