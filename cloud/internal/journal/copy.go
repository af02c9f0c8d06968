package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// Copy writes a consistent copy of the journal into a file that is not there yet, readable
// by its owner alone, while Append goes on.
func (j *Journal) Copy(ctx context.Context, to string) error {
	db, err := j.beside("ro")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := vacuumInto(ctx, db, to); err != nil {
		return fmt.Errorf("copy the journal: %w", err)
	}
	return nil
}

func vacuumInto(ctx context.Context, db *sql.DB, to string) (err error) {
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(to)
		}
	}()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, to); err != nil {
		return err
	}
	return f.Sync()
}

// copyFile makes a whole journal of a file that no program has open.
func copyFile(ctx context.Context, from, to string) error {
	db, err := atRest(from)
	if err != nil {
		return err
	}
	defer db.Close()
	return vacuumInto(ctx, db, to)
}

// atRest opens a journal that no program has open, without leaving anything beside it if
// nothing lies there.
func atRest(path string) (*sql.DB, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe would be waited for, without end
		return nil, fmt.Errorf("%s: %w", path, errNone)
	}
	how := url.Values{"mode": {"ro"}}
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		how = url.Values{"immutable": {"1"}}
	}
	return connect(path, how)
}

// Checked is what a journal holds.
type Checked struct {
	Facts int64
	Until time.Time // by the wall clock; zero: there are no facts
}

// Check reads the whole of a journal that no program has open. One that is damaged, or that
// does not give the state, is an error; a newer version's ErrNewer.
func Check(ctx context.Context, path string, readable func(body []byte) error) (Checked, error) {
	db, err := atRest(path)
	if err != nil {
		return Checked{}, err
	}
	defer db.Close()
	got, err := check(ctx, db, readable)
	if err != nil {
		return Checked{}, fmt.Errorf("check the journal %s: %w", path, err)
	}
	return got, nil
}

var errNone = errors.New("it is no journal")

// IsNone reports whether an error of Check's says that a file is something else than a
// journal.
func IsNone(err error) bool {
	return errors.Is(err, errNone) || code(err) == sqlite3.SQLITE_NOTADB
}

func check(ctx context.Context, db *sql.DB, readable func(body []byte) error) (got Checked, err error) {
	switch version, err := layoutOf(ctx, db); {
	case err != nil:
		return got, err
	case version == 0:
		return got, errNone
	}
	var found string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&found); err != nil {
		return got, err
	}
	if found != "ok" {
		return got, fmt.Errorf("%w: %s", errGarbled, strings.Join(strings.Fields(found), " "))
	}
	if _, err := known().read(ctx, db, Want{Readable: readable}); err != nil {
		return got, err
	}
	err = known().walk(ctx, db, `ORDER BY n`, nil, func(e Entry) bool {
		got.Facts++
		got.Until = e.Wall
		return true
	})
	return got, err
}
