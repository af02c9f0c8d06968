package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

const (
	seenFile = "seen.json"
	// maxSeen bounds the file: 16 boots of a thousand nodes have some 5 MiB.
	maxSeen = 8 << 20
)

// Seen is the file of what was heard lately: which messages would be repetitions, and that
// the process lived at that moment.
type Seen struct {
	Moment   daemon.Moment `json:"moment"`
	Marks    []wire.Mark   `json:"marks,omitempty"`    // of the nodes' messages
	Ways     []wire.Way    `json:"ways,omitempty"`     // of the same
	Connects []wire.Mark   `json:"connects,omitempty"` // of the brains' words
}

// Seen reads what an earlier process saw; nil if there was none. A broken file is an
// error: what then comes again passes for new.
func (l *Ledger) Seen() (*Seen, error) {
	path := filepath.Join(l.dir, seenFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxSeen {
		err = fmt.Errorf("%d bytes are over the limit of %d", info.Size(), maxSeen)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	var s Seen
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil && s.Moment.Boot == "" {
		err = errors.New("it does not say when")
	}
	if err != nil {
		return nil, fmt.Errorf("read what was seen: %w", err)
	}
	return &s, nil
}

// SetSeen puts what was seen on disk.
func (l *Ledger) SetSeen(s Seen) error {
	data, err := json.Marshal(s)
	if err == nil && len(data) > maxSeen {
		err = fmt.Errorf("%d bytes are over the limit of %d", len(data), maxSeen)
	}
	if err == nil {
		err = daemon.WriteFile(filepath.Join(l.dir, seenFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("store what was seen: %w", err)
	}
	return nil
}
