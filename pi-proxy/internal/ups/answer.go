package ups

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The caps of what is read. apcupsd's own records are built in 256 bytes, and its
// longest answer has 60 of them.
const (
	longestRecord = 256
	mostRecords   = 512
)

var (
	errNoHeader = errors.New("the answer does not begin with APC : 001,RECORDS,BYTES")
	errNoEnd    = errors.New("the answer does not end with END APC")
)

// answer is one answer of NIS, as read to its end.
type answer struct {
	lines []string
	raw   []byte // the same as on the wire, for the library
}

func frame(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// readAnswer reads records up to the one of length 0. It leaves all deadlines to r.
func readAnswer(r io.Reader) (answer, error) {
	var a answer
	for len(a.lines) < mostRecords {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return answer{}, fmt.Errorf("read record %d: %w", len(a.lines)+1, cut(err))
		}
		n := binary.BigEndian.Uint16(head[:])
		a.raw = append(a.raw, head[:]...)
		if n == 0 {
			return a, nil
		}
		if n > longestRecord {
			return answer{}, fmt.Errorf("record %d has %d bytes, more than %d", len(a.lines)+1, n, longestRecord)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return answer{}, fmt.Errorf("read record %d: %w", len(a.lines)+1, cut(err))
		}
		a.raw = append(a.raw, b...)
		a.lines = append(a.lines, string(b))
	}
	return answer{}, fmt.Errorf("more than %d records", mostRecords)
}

// cut calls an end between two records what it is: too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// complete checks that all came that the header announces: apcupsd cut off midway
// would otherwise pass for one that has little to say.
func (a answer) complete() error {
	if len(a.lines) == 0 {
		return errNoHeader
	}
	key, value := split(a.lines[0])
	var records, size int
	if key != "APC" {
		return errNoHeader
	}
	if _, err := fmt.Sscanf(value, "001,%d,%d", &records, &size); err != nil {
		return errNoHeader
	}
	got := 0
	for _, l := range a.lines[1:] {
		got += len(l)
	}
	if records != len(a.lines)-1 || size != got {
		return fmt.Errorf("the answer has %d records of %d bytes, its header says %d of %d",
			len(a.lines)-1, got, records, size)
	}
	if key, _ := split(a.lines[len(a.lines)-1]); key != "END APC" {
		return errNoEnd
	}
	return nil
}

// fields are the values by key. A key that is absent was not reported.
func (a answer) fields() map[string]string {
	f := make(map[string]string, len(a.lines))
	for _, l := range a.lines {
		if k, v := split(l); k != "" {
			f[k] = v
		}
	}
	return f
}

func split(line string) (key, value string) {
	k, v, found := strings.Cut(line, ":")
	if !found {
		return "", ""
	}
	return strings.TrimSpace(k), strings.TrimSpace(v)
}
