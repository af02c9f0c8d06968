package brain

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// leaveWithin bounds how long an end waits for the Pis' next heartbeats, of which one comes
// each second.
const leaveWithin = 1200 * time.Millisecond

// leaving is the word to the Pis that the brain is about to be restarted. The zero value is
// ready.
type leaving struct {
	mu     sync.Mutex
	untold map[string]bool // Pis that are up and have not heard of it; nil: it is not
	told   chan struct{}   // closed once all have
}

// begin lets the answers say so from now on.
func (l *leaving) begin(pis []string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold, l.told = map[string]bool{}, make(chan struct{})
	for _, p := range pis {
		l.untold[p] = true
	}
	if len(pis) == 0 {
		close(l.told)
	}
	return l.told
}

// say reports whether an answer to a Pi must say so, and notes that it does.
func (l *leaving) say(pi string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold == nil {
		return false
	}
	if l.untold[pi] {
		if delete(l.untold, pi); len(l.untold) == 0 {
			close(l.told)
		}
	}
	return true
}

// Leave gives the context for Run: it ends with ctx, once each Pi that is up has heard that
// the brain is about to be restarted (rule N5), 1.2 s later at most. Until then the brain
// does all it ever does. One that is killed, or fails, says nothing.
func (b *Brain) Leave(ctx context.Context) context.Context {
	later, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		defer end()
		limit := time.NewTimer(leaveWithin)
		defer limit.Stop()
		select {
		case <-b.leaving.begin(b.pisUp()):
		case <-limit.C:
		}
	})
	return later
}

// pisUp are the Pis that are up, as of the loop's last turn.
func (b *Brain) pisUp() []string {
	up := map[string]bool{}
	if page := b.page(); page != nil {
		for _, site := range page.Sites {
			for _, s := range site.Sources {
				if s.Role == string(sentinel.Pi) && s.Condition == string(sentinel.Up) {
					up[s.Name] = true
				}
			}
		}
	}
	return slices.Collect(maps.Keys(up))
}
