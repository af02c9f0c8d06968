package self

import (
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/wire"
)

const boot = "9a3f0c12-0000-4000-8000-00000000abcd"

func newSelf(t *testing.T, clock time.Duration) (*Self, wire.Key) {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return New("pve1", "home", boot, key, func() time.Duration { return clock }), key
}

func TestMessagesAreSealed(t *testing.T) {
	s, key := newSelf(t, 7*time.Second)
	h, data, err := s.Announcement("id", wire.Poweroff)
	if err != nil {
		t.Fatal(err)
	}
	e, err := wire.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	var a wire.Announcement
	if err := e.Verify(key.PublicKey()); err != nil {
		t.Fatal(err)
	}
	if err := e.Decode(wire.KindAnnouncement, &a); err != nil {
		t.Fatal(err)
	}
	want := wire.Announcement{Header: wire.Header{V: 1, Site: "home", Node: "pve1", Boot: boot, Seq: 7_000_000}, ID: "id", Kind: wire.Poweroff}
	if a != want || h != want.Header {
		t.Errorf("got %+v with header %+v", a, h)
	}
	if _, _, err := s.Announcement("", wire.Poweroff); err == nil {
		t.Error("sealed a message that every receiver refuses")
	}
}

// TestSeqRises also where the clock stands still and several goroutines seal.
func TestSeqRises(t *testing.T) {
	s, _ := newSelf(t, time.Second)
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[int64]bool{}
	for range 4 {
		wg.Go(func() {
			last := int64(0)
			for range 50 {
				h, _, err := s.Heartbeat("running")
				if err != nil || h.Seq <= last {
					t.Errorf("seq %d after %d, %v", h.Seq, last, err)
				}
				last = h.Seq
				mu.Lock()
				if seen[h.Seq] {
					t.Errorf("seq %d twice", h.Seq)
				}
				seen[h.Seq] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
