package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// searchWithin and copyWithin are how long the brain takes at most for its journal.
const (
	searchWithin = 5*time.Minute + 10*time.Second
	copyWithin   = 10 * time.Minute
	maxFact      = 16 << 20
)

// Search picks facts of the journal; what is empty picks all.
type Search struct {
	Site, Node, Incident string
	Since                string // how long ago, or a time
	Limit                int
}

// Journal writes down facts, the newest last: each as the brain says it, or those that have
// one as their sentence with its time.
func (o Operator) Journal(w io.Writer, s Search, asJSON bool) error {
	q := url.Values{}
	for name, value := range map[string]string{"site": s.Site, "node": s.Node, "incident": s.Incident, "since": s.Since} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if s.Limit != 0 {
		q.Set("limit", strconv.Itoa(s.Limit))
	}
	resp, err := o.askWithin(searchWithin, http.MethodGet, "/api/v1/journal?"+q.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out := bufio.NewWriter(w)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxFact)
	found := false
	for lines.Scan() {
		found = true
		if err := writeFact(out, lines.Bytes(), asJSON); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return errors.Join(out.Flush(), fmt.Errorf("the brain's answer broke off: %w", err))
	}
	if !found && !asJSON {
		if _, err := fmt.Fprintln(out, "The journal holds nothing like that; `sentinel-cloud status` and `incidents` list what there is."); err != nil {
			return err
		}
	}
	return out.Flush()
}

func writeFact(w io.Writer, line []byte, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(w, "%s\n", line)
		return err
	}
	var fact struct {
		Wall time.Time
		Text string
	}
	if err := json.Unmarshal(line, &fact); err != nil {
		return fmt.Errorf("read the brain's answer: %w", err)
	}
	if fact.Text == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", fact.Wall.Format(time.DateTime), fact.Text)
	return err
}

// Backup writes a copy of the running brain's journal to a file, whole or not at all, and
// says in one line what it holds, which check finds out.
func (o Operator) Backup(ctx context.Context, w io.Writer, file string, check func(ctx context.Context, path string) (string, error)) error {
	if _, err := os.Lstat(file + "-wal"); err == nil { // what its owner writes from now on would be lost
		return fmt.Errorf("%s is in use, since a log lies beside it; the copy needs another name", file)
	}
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+".tmp*") // which is 0600
	if err != nil {
		return notWritten(file, err)
	}
	defer os.Remove(tmp.Name()) // does nothing once it has its name
	if err = o.fetchBackup(tmp); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return notWritten(file, err)
	}
	held, err := check(ctx, tmp.Name())
	if err != nil {
		return fmt.Errorf("%s was not written, since the copy is not good; try again, and see the brain's log: %w", file, err)
	}
	if err := errors.Join(os.Rename(tmp.Name(), file), syncDir(dir)); err != nil {
		return notWritten(file, err)
	}
	_, err = fmt.Fprintf(w, "%s: %s, whole and readable.\n", file, held)
	return err
}

func (o Operator) fetchBackup(into *os.File) error {
	resp, err := o.askWithin(copyWithin, http.MethodGet, "/api/v1/backup")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(into, resp.Body)
	var here *fs.PathError
	switch {
	case errors.As(err, &here):
		return notWritten(into.Name(), err)
	case err != nil:
		return fmt.Errorf("the brain's answer broke off, so there is no copy; try again: %w", err)
	}
	return nil
}

// notWritten says why a copy could not be written, and what to do about it.
func notWritten(file string, err error) error {
	dir := filepath.Dir(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; make it, or name another place for the copy", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not write to %s; use sudo, or name another place for the copy", dir)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of %s has no room for the copy; make room, or name another place for it", dir)
	}
	return fmt.Errorf("the copy was not written, name another place for it: %w", err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
