package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sentinel.home.arpa/shared/wire"
)

const (
	newFile    = "record.jsonl"
	oldFile    = "record.old.jsonl"
	cursorFile = "record.cursor.json"

	// Two files are kept; one is full at that size, or when its first line is that old.
	fileMost = 2 << 20
	fileFor  = wire.RecordKept
	longest  = 16 << 10 // a line; one of a UPS has some 500 bytes
	retry    = 5 * time.Second
	// lookEach is how often it is looked whether the wall clock is set, until it is.
	lookEach = 10 * time.Second
	maxN     = 1 << 52
	// longestBoot is longer than any machine is up, and leaves room to add some up.
	longestBoot = 50 * 365 * 24 * time.Hour
)

// disk is what the writer knows. Its lock is held while the disk works, so nobody who must
// not wait takes it.
type disk struct {
	mu     sync.Mutex
	file   *os.File
	size   int64
	first  *line  // in the file; nil: it is empty
	torn   bool   // the file may end in the middle of a line
	failed bool   // the last time, and that was said
	cursor cursor // as it is on disk
}

// read gives the lines of both files in their order, once each.
func (r *Record) read() (lines []line) {
	broken := 0
	for _, name := range []string{oldFile, newFile} {
		data, err := tail(filepath.Join(r.dir, name))
		if err != nil {
			r.log.Error("the record is unreadable, going on without", "file", name, "err", err)
			continue
		}
		var first *line
		for text := range bytes.Lines(data) {
			l, err := parse(text)
			switch {
			case err != nil:
				broken++
				continue
			case first == nil:
				first = new(l)
			}
			if len(lines) == 0 || l.N > lines[len(lines)-1].N {
				lines = append(lines, l)
			}
		}
		if name == newFile {
			r.disk.first, r.disk.torn = first, len(data) > 0 && data[len(data)-1] != '\n'
		}
	}
	if broken > 0 {
		r.log.Error("the record has broken lines, skipped", "lines", broken)
	}
	return lines
}

// tail is what a file holds, the end of it if it is too long; nothing if there is none.
func tail(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(max(size-2*fileMost, 0), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, 2*fileMost))
}

func parse(text []byte) (l line, err error) {
	if len(text) > longest {
		return l, errors.New("too long")
	}
	if err = json.Unmarshal(text, &l); err != nil {
		return l, err
	}
	switch {
	case l.N <= 0 || l.N > maxN || l.Told < 0 || l.Told >= l.N || l.SinceBoot < 0 || l.SinceBoot > longestBoot || l.Boot == "":
		return l, errors.New("it cannot be")
	case l.Of != nil:
		return l, l.Of.Validate()
	}
	return l, nil
}

// Run writes what is noted, at once, until the context ends.
func (r *Record) Run(ctx context.Context) error {
	look := time.NewTicker(lookEach)
	defer look.Stop()
	for {
		var again <-chan time.Time
		if r.write() != nil {
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return nil // Close writes once more, when all else has ended
		case <-r.wake:
		case <-again:
		case <-look.C:
			if r.noteClock() {
				look.Stop()
			}
		}
	}
}

// Close writes what is not written.
func (r *Record) Close() {
	_ = r.write() // it has said so
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	if r.disk.file != nil {
		_ = r.disk.file.Close()
		r.disk.file = nil
	}
}

// write puts lines and cursor on disk. What the disk did not take waits.
func (r *Record) write() error {
	d := &r.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	r.mu.Lock()
	lines, told := r.unwritten, cursorOf(r.held, r.last)
	r.unwritten, r.waiting = nil, 0
	r.mu.Unlock()
	rest, err := r.append(lines)
	if err == nil && !told.equals(d.cursor) {
		if err = r.writeCursor(told); err == nil {
			d.cursor = told
		}
	}
	if len(rest) > 0 {
		r.mu.Lock()
		r.unwritten = append(rest, r.unwritten...)
		for _, l := range rest {
			r.waiting += sizeOf(l)
		}
		r.mu.Unlock()
	}
	if err != nil && !d.failed {
		r.log.Error("record not written, keeping it in memory", "err", err)
	}
	d.failed = err != nil
	return err
}

// append writes lines at the end of the file, and gives those back that it did not take.
func (r *Record) append(lines []line) ([]line, error) {
	d := &r.disk
	for i := range lines {
		l := &lines[i]
		l.Told = min(d.cursor.Delivered, l.N-1)
		data, err := json.Marshal(l)
		if err != nil {
			return lines[i+1:], fmt.Errorf("write the record: %w", err)
		}
		if err := r.room(*l, len(data)); err != nil {
			return lines[i:], err
		}
		if d.torn {
			data = append([]byte("\n"), data...)
		}
		n, err := d.file.Write(append(data, '\n'))
		d.size += int64(n)
		d.torn = err != nil && (d.torn || n > 0)
		if err != nil {
			return lines[i:], err
		}
		if d.first == nil {
			d.first = new(*l)
		}
	}
	return nil, nil
}

// room opens the file, or begins a new one in place of one that is full.
func (r *Record) room(l line, size int) error {
	d := &r.disk
	path := filepath.Join(r.dir, newFile)
	if d.file == nil {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		d.file, d.size = f, info.Size()
	}
	if d.size == 0 || d.size+int64(size) < fileMost && !r.served(d.first) {
		return nil
	}
	if err := os.Rename(path, filepath.Join(r.dir, oldFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = d.file.Close() // all was written by write(2)
	d.file, d.size, d.first, d.torn = nil, 0, nil, false
	return r.room(l, size)
}

// served reports whether a file whose first line this is has served its time, as far as that
// is certain.
func (r *Record) served(first *line) bool {
	if first == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isSet()
	a := r.age(*first)
	return a.certain > fileFor || !a.unsure && a.atLeast > fileFor
}
