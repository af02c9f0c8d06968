// Package ledger keeps on the Pi's disk what it must not forget: the bundle that it
// guards by, the steps of its own run, which messages it has seen, and how it watches the brain.
//
// It must not import another adapter.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"sentinel.home.arpa/pi-proxy/internal/guardian"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const (
	bundleFile = "bundle.json"
	runFile    = "run.jsonl"
	maxLine    = 1 << 20
	// shortenOver is how long the run's file may be, in bytes, until it is shortened: one that
	// waits for a run gets two steps with each flicker of the power, for years.
	shortenOver = 256 << 10
	aside       = ".broken" // ends the name of a file that is kept for a person
)

// Stored is the bundle file.
type Stored struct {
	Hash     string         `json:"hash"`
	BrainKey wire.PublicKey `json:"brain_key"`
	Bundle   wire.Bundle    `json:"bundle"`
}

// Ledger is for one writer of each of its files.
type Ledger struct {
	dir       string
	run       *os.File
	size      int64  // of the whole steps in it
	fresh     bool   // the next write makes the file
	unwritten []byte // steps that are not on disk
	shortenAt int64  // the size at which the file is worth shortening
	last      *daemon.Moment

	// Clock, if there is one, says when each step is written, so that a later process
	// knows how much time has passed.
	Clock *daemon.Clock
}

// Open opens or makes the ledger.
func Open(dir string) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	_, err := os.Stat(filepath.Join(dir, runFile))
	return &Ledger{dir: dir, shortenAt: shortenOver, fresh: errors.Is(err, fs.ErrNotExist)}, nil
}

// Close closes the run's file.
func (l *Ledger) Close() error {
	if l.run == nil {
		return nil
	}
	return l.run.Close()
}

// Bundle reads the bundle; nil if there is none. A broken one is an error: the Pi then
// waits for the brain to hand it out again.
func (l *Ledger) Bundle() (*Stored, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, bundleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s Stored
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	return &s, nil
}

// SetBundle puts a bundle on disk.
func (l *Ledger) SetBundle(s Stored) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = daemon.WriteFile(filepath.Join(l.dir, bundleFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("store the bundle: %w", err)
	}
	return nil
}

// line is a step as it lies on disk, with when it was written.
type line struct {
	guardian.Event
	Moment *daemon.Moment `json:"moment,omitempty"`
}

func moment(c *daemon.Clock) *daemon.Moment {
	if c == nil {
		return nil
	}
	m := c.Moment()
	return &m
}

// Last is when the last step that Run gave was written; nil if that is not known.
func (l *Ledger) Last() *daemon.Moment { return l.last }

// Run gives the steps of the last run. A torn last line, from a power cut in the middle
// of a write, is cut off: its step was not done yet. A file that is broken in another way is
// kept aside, and what could be read of it begins a new one, which later steps follow.
func (l *Ledger) Run(log *slog.Logger, each func(guardian.Event)) error {
	path := filepath.Join(l.dir, runFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the run: %w", err)
	}
	for whole := 0; whole < len(data); {
		text, _, ended := bytes.Cut(data[whole:], []byte("\n"))
		e, err := step(text)
		switch {
		case !ended && len(text) <= maxLine:
			log.Error("run ends in a broken step, cut off", "file", path, "byte", whole, "err", err)
			return os.Truncate(path, int64(whole))
		case err != nil:
			log.Error("run ends in a broken step, the file is set aside", "file", path, "to", path+aside, "byte", whole, "err", err)
			return setAside(path, data[:whole])
		}
		each(e.Event)
		if e.Moment != nil {
			l.last = e.Moment
		}
		whole += len(text) + 1
	}
	return nil
}

func step(text []byte) (e line, err error) {
	if len(text) > maxLine {
		return e, fmt.Errorf("a line of %d bytes, where %d are the most", len(text), maxLine)
	}
	if err = json.Unmarshal(text, &e); err == nil && e.Event.Event.Type == shutdown.Began && e.Event.Event.Run == nil {
		err = errors.New("a run without a plan")
	}
	return e, err
}

// setAside keeps a file under another name, and its good part under its own. A link needs no
// room on a full disk; where there can be none, the run goes on without the broken part.
func setAside(path string, good []byte) error {
	err := os.Remove(path + aside)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, os.Link(path, path+aside), daemon.WriteFile(path, good, 0o600))
	if err != nil {
		return fmt.Errorf("set the broken run aside: %w", err)
	}
	return nil
}

// Append puts steps on disk before anything comes of them. A new run begins a new file.
// Steps that the disk did not take go first the next time.
func (l *Ledger) Append(es []guardian.Event) error {
	for _, e := range es {
		data, err := json.Marshal(line{e, moment(l.Clock)})
		if err != nil {
			return fmt.Errorf("write the run: %w", err)
		}
		if e.Event.Type == shutdown.Began {
			l.begin()
		}
		l.unwritten = append(append(l.unwritten, data...), '\n')
	}
	if err := l.write(); err != nil {
		return fmt.Errorf("write the run: %w", err)
	}
	return nil
}

// begin lets the next write replace the file: the old run is over.
func (l *Ledger) begin() {
	if l.run != nil {
		_ = l.run.Close() // all that counts was synced
	}
	l.run, l.fresh, l.unwritten = nil, true, nil
}

func (l *Ledger) write() error {
	path := filepath.Join(l.dir, runFile)
	if l.fresh {
		if err := daemon.WriteFile(path, l.unwritten, 0o600); err != nil {
			return err
		}
		l.fresh, l.unwritten = false, nil
		return nil
	}
	if l.run == nil {
		f, err := os.OpenFile(path, os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		l.run, l.size = f, size
	}
	// At its place, so that what a full disk took of it the last time is written over.
	if _, err := l.run.WriteAt(l.unwritten, l.size); err != nil {
		return err
	}
	if err := l.run.Sync(); err != nil {
		return err
	}
	l.size += int64(len(l.unwritten))
	l.unwritten = nil
	if l.size > l.shortenAt {
		l.shorten(path)
	}
	return nil
}

// shorten replaces the file by the steps that are still needed. All is on disk, so where it
// fails the file stays as it is, and is looked at again when it is twice as long.
func (l *Ledger) shorten(path string) {
	l.shortenAt = 2 * l.size
	data, err := os.ReadFile(path)
	if err != nil || int64(len(data)) < l.size {
		return
	}
	short, err := needed(data[:l.size])
	if err != nil || int64(len(short)) > l.size/2 {
		return
	}
	_ = l.run.Close() // all that counts was synced; the next write opens what is there by then
	l.run = nil
	if daemon.WriteFile(path, short, 0o600) == nil {
		l.shortenAt = max(shortenOver, 2*int64(len(short)))
	}
}

// needed are the lines of those steps without which another guardian would be restored. The
// last, which says when it was written, is one of them.
func needed(data []byte) (short []byte, err error) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines = lines[:len(lines)-1] // nothing is behind the last line's end
	es := make([]guardian.Event, len(lines))
	for i, text := range lines {
		e, err := step(text)
		if err != nil {
			return nil, err
		}
		es[i] = e.Event
	}
	for _, i := range guardian.Needed(es) {
		short = append(short, lines[i]...)
	}
	return short, nil
}
