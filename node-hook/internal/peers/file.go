package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// maxFile is the largest file that is read, in bytes: 20 sources with 16 Pis each fit.
const maxFile = 256 << 10

// file is what the book's file holds.
type file struct {
	Brains []source `json:"brains,omitempty"`
	Pis    []source `json:"pis,omitempty"`
}

func (b *Book) read() (file, error) {
	f, err := os.Open(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil
	}
	if err != nil {
		return file{}, fmt.Errorf("read the peers: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return file{}, fmt.Errorf("read the peers: %w", err)
	}
	return parse(data)
}

// parse reads a file and leaves out what could not be talked to.
func parse(data []byte) (file, error) {
	var stored file
	if len(data) > maxFile {
		return file{}, fmt.Errorf("read the peers: larger than %d bytes", maxFile)
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return file{}, fmt.Errorf("read the peers: %w", err)
	}
	return file{clean(stored.Brains), clean(stored.Pis)}, nil
}

func clean(all []source) []source {
	var good []source
	for _, s := range all {
		if ValidAddress(s.Address) != nil || s.Key != "" && s.Key.Validate() != nil {
			continue
		}
		good = append(good, source{Peer: wire.Peer{Name: s.Name, Address: s.Address, Key: s.Key}, Pis: usable(s.Pis)})
	}
	return good
}

// save writes what changed. A failure costs only what a restart would have known.
func (b *Book) save() {
	if b.path == "" {
		return
	}
	data, err := json.MarshalIndent(file{b.brains, b.pis}, "", "  ")
	if err != nil || bytes.Equal(data, b.saved) {
		return
	}
	if err := daemon.WriteFile(b.path, append(data, '\n'), 0o600); err != nil {
		b.log.Warn("learnt peers are not on disk", "err", err)
		return
	}
	b.saved = data
}
