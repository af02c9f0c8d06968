package upssim

import (
	"bytes"
	"testing"
)

// FuzzAsk: whatever a client asks, it is answered in whole records, or not at all.
func FuzzAsk(f *testing.F) {
	f.Add([]byte("\x00\x06status"))
	f.Add([]byte("\x00\x06events"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("\xff\xffstatus"))
	f.Add([]byte("\x00\x06sta"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ask, err := readAsk(bytes.NewReader(data))
		if err != nil {
			return
		}
		if len(ask) > longestAsk {
			t.Errorf("asked %d bytes", len(ask))
		}
		left := New(Config{}).answer(ask).bytes
		for len(left) > 2 {
			n := int(left[0])<<8 | int(left[1])
			if n == 0 || n > 256 || n > len(left)-2 {
				t.Fatalf("a record of %d bytes with %d left", n, len(left))
			}
			left = left[2+n:]
		}
		if !bytes.Equal(left, []byte{0, 0}) {
			t.Errorf("ends in %q", left)
		}
	})
}
