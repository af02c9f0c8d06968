package brain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// armingFile lies in the state directory for as long as it is not known whether the plan is
// armed.
const armingFile = "arming-unknown"

const armingWarning = "Whether the plan is armed is not known, since the journal has lost facts: arm or disarm it. Until then the Pis keep what they were told before."

// arming tells whether it is known if the plan is armed: a brain that has lost facts may
// have forgotten that it is, and must not disarm the Pis, until a person says which (rules
// R3, S10). It outlives the process as a file, since the journal is what was lost.
type arming struct {
	path string
	lost atomic.Bool

	look   sync.Mutex    // by the one that looks at the machines before the plan is armed
	turn   chan struct{} // holds one while a person's word is taken down
	mu     sync.Mutex
	undoes chan struct{} // closed by the next disarming
}

func newArming(dir string) *arming {
	a := &arming{path: filepath.Join(dir, armingFile), turn: make(chan struct{}, 1), undoes: make(chan struct{})}
	_, err := os.Lstat(a.path)
	a.lost.Store(!errors.Is(err, fs.ErrNotExist))
	return a
}

// undone is closed once somebody disarms the plan from now on.
func (a *arming) undone() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.undoes
}

// undo ends every arming that is under way.
func (a *arming) undo() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.undoes)
	a.undoes = make(chan struct{})
}

// decideArming is a person's word on whether the plan is armed; nothing comes of it once undone
// is closed. Words are taken down one at a time: one that passed that test is with the loop
// before the disarming that comes after it.
func (b *Brain) decideArming(ctx context.Context, undone <-chan struct{}, in func(site string) sentinel.Input) error {
	select {
	case b.arming.turn <- struct{}{}:
		defer func() { <-b.arming.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if isClosed(undone) {
		return errDisarmed()
	}
	if err := b.forEachSite(ctx, in); err != nil {
		return err
	}
	b.armingKnown()
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// armingLost is on disk before the journal looks whole again.
func (b *Brain) armingLost() {
	if b.arming.lost.Swap(true) {
		return
	}
	if err := daemon.WriteFile(b.arming.path, []byte(armingWarning+"\n"), 0o600); err != nil {
		b.log.Error("a restart will forget that the plan's arming is not known", "err", err)
	}
}

// armingKnown is for after a person has armed or disarmed the plan. While that is not on
// disk the file stays.
func (b *Brain) armingKnown() {
	if !b.arming.lost.Swap(false) {
		return
	}
	if v := b.view.Load(); v == nil || v.unsaved {
		return
	}
	if err := os.Remove(b.arming.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Error("a restart will ask again whether the plan is armed", "err", err)
	}
}

// armingUnknown reports whether the brain must not say that a plan is disarmed; a brain
// without a plan has nothing to say about it.
func (b *Brain) armingUnknown() bool {
	for _, s := range b.core().Sites {
		if s.Plan != nil {
			return b.arming.lost.Load()
		}
	}
	return false
}

// mandate is what a Pi is told: the bundle that it has is as good as the brain's own while
// that may be wrong. One that has none gets the brain's, and with it the nodes' keys.
func (b *Brain) mandate(has string, m wire.Mandate, own bundle) (wire.Mandate, *wire.Bundle) {
	if b.armingUnknown() {
		if m.Run == shutdown.Disarmed {
			m.Run = shutdown.None
		}
		if has != "" {
			m.Bundle = has
			return m, nil
		}
	}
	m.Bundle = own.hash
	if has == own.hash {
		return m, nil
	}
	return m, &own.Bundle
}
