package wire_test

import (
	"fmt"
	"testing"

	"sentinel.home.arpa/shared/wire"
)

func word(node, boot string, seq int64) wire.Header {
	return wire.Header{Node: node, Boot: boot, Seq: seq}
}

// TestR1_AWordIsHeardOnceWhoeverSpeaksBetween: neither another sender nor another boot of
// the same one makes an old word new.
func TestR1_AWordIsHeardOnceWhoeverSpeaksBetween(t *testing.T) {
	var o wire.Once
	for round := range int64(3) {
		for _, h := range []wire.Header{word("brain", "1", round+10), word("brain-2", "9", round+1), word("brain", "2", round+5)} {
			if !o.Fresh(h) {
				t.Errorf("%+v comes for the first time", h)
			}
		}
		for _, h := range []wire.Header{word("brain", "1", 10), word("brain-2", "9", 1), word("brain", "2", 5)} {
			if o.Fresh(h) {
				t.Errorf("round %d: %+v passes again", round, h)
			}
		}
	}
	if !o.Fresh(word("brain", "1", 9)) {
		t.Error("an overtaken word is refused")
	}
}

func TestR1_AWordOfAnEarlierProcessIsRefused(t *testing.T) {
	var before, o wire.Once
	before.Fresh(word("brain", "1", 7))
	before.Fresh(word("brain", "1", 5))
	before.Fresh(word("brain", "2", 3))
	o.Restore(before.Marks())
	for _, h := range []wire.Header{word("brain", "1", 5), word("brain", "1", 7), word("brain", "2", 3)} {
		if o.Fresh(h) {
			t.Errorf("%+v passes again", h)
		}
	}
	if !o.Fresh(word("brain", "1", 8)) {
		t.Error("a new word is refused")
	}
}

func TestOnceIsBounded(t *testing.T) {
	var o wire.Once
	for seq := range int64(1000) {
		o.Fresh(word("brain", "1", seq+1))
	}
	if o.Fresh(word("brain", "1", 3)) {
		t.Error("one from before those that are remembered passes")
	}
	for boot := range 20 {
		for node := range 30 {
			o.Fresh(word(fmt.Sprint("b", node), fmt.Sprint(boot), 1))
		}
	}
	if n := len(o.Marks()); n != 15*4+1 {
		t.Errorf("%d boots are remembered", n)
	}
	if !o.Fresh(word("brain", "1", 2000)) {
		t.Error("a known sender is refused")
	}
}
