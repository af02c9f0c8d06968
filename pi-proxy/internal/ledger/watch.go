package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

const (
	watchFile = "watch.json"
	callsFile = "calls.json"
	maxWatch  = 1 << 20
)

// Watched is the file of how the brain was watched.
type Watched struct {
	Moment daemon.Moment    `json:"moment"`
	State  brainwatch.State `json:"state"`
}

// Watched reads how an earlier process watched the brain; nil if there was none. Of a broken
// file people may be called once more.
func (l *Ledger) Watched() (*Watched, error) {
	var w Watched
	found, err := l.read(watchFile, &w)
	if err == nil && found && w.Moment.Boot == "" {
		err = errors.New("it does not say when")
	}
	if err != nil {
		return nil, fmt.Errorf("read how the brain was watched: %w", err)
	}
	if !found {
		return nil, nil
	}
	return &w, nil
}

// SetWatched puts on disk how the brain is watched.
func (l *Ledger) SetWatched(w Watched) error {
	if err := l.set(watchFile, w); err != nil {
		return fmt.Errorf("store how the brain is watched: %w", err)
	}
	return nil
}

// Called is the file of whom to call.
type Called struct {
	Hash  string     `json:"hash"`
	Calls wire.Calls `json:"calls"`
}

// Called reads whom to call; nil if no brain has said. The Pi waits for the brain to say it
// again if the file is broken.
func (l *Ledger) Called() (*Called, error) {
	var c Called
	found, err := l.read(callsFile, &c)
	if err != nil {
		return nil, fmt.Errorf("read whom to call: %w", err)
	}
	if !found {
		return nil, nil
	}
	return &c, nil
}

// SetCalled puts on disk whom to call.
func (l *Ledger) SetCalled(c Called) error {
	if err := l.set(callsFile, c); err != nil {
		return fmt.Errorf("store whom to call: %w", err)
	}
	return nil
}

// read reads a small file, and reports whether there is one.
func (l *Ledger) read(name string, into any) (found bool, err error) {
	f, err := os.Open(filepath.Join(l.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxWatch))
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(data, into)
}

func (l *Ledger) set(name string, what any) error {
	data, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return daemon.WriteFile(filepath.Join(l.dir, name), data, 0o600)
}
