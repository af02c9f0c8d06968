package spool_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/pi-proxy/internal/spool"
)

const (
	boot  = "9a3f0c12-0000-4000-8000-000000000001"
	month = 30 * 24 * time.Hour // the highest age that a relay may name

	largest = 16 << 20 // these tests have few and large messages
)

// clock is CLOCK_BOOTTIME.
type clock struct{ d time.Duration }

func (c *clock) now() time.Duration { return c.d }

func open(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	return openAt(t, dir, boot, (&clock{time.Hour}).now)
}

func openAt(t testing.TB, dir, boot string, now func() time.Duration) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, boot, now, largest, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *spool.Spool, envelope, stranger string) {
	t.Helper()
	if err := s.Put([]byte(envelope), stranger); err != nil {
		t.Fatalf("put %.40q: %v", envelope, err)
	}
}

// held are the envelopes that wait, in their order.
func held(s *spool.Spool) (all []string) {
	for _, m := range s.First(1 << 20) {
		all = append(all, string(m.Envelope))
	}
	return all
}

func holds(t testing.TB, s *spool.Spool, want ...string) {
	t.Helper()
	if got := held(s); !slices.Equal(got, want) {
		t.Errorf("it holds %.200q, want %.200q", got, want)
	}
}

func TestA3_OnDiskBeforePutReturnsAndInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir)
	var want []string
	for i := range 12 {
		want = append(want, fmt.Sprintf("message %d", i))
		put(t, s, want[i], "")
		holds(t, open(t, dir), want...) // as another process would find it now
	}
	holds(t, s, want...)
	if first := s.First(5); len(first) != 5 || string(first[4].Envelope) != want[4] {
		t.Errorf("the first 5 are %v", first)
	}
	again := open(t, dir)
	put(t, again, "message 12", "")
	holds(t, open(t, dir), append(want, "message 12")...)
}

func TestA3_TheSameMessageIsHeldOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", "")
	put(t, s, "b", "")
	put(t, s, "a", "")
	holds(t, s, "a", "b")
	s = open(t, dir)
	put(t, s, "b", "")
	holds(t, s, "a", "b")
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, e := range []string{"a", "b", "c"} {
		put(t, s, e, "")
	}
	b := s.First(2)[1]
	for range 2 { // also if the brain takes it twice
		if err := s.Remove(b.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove("000000009999.json"); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	holds(t, s, "a", "c")
	holds(t, open(t, dir), "a", "c")
	put(t, s, "b", "") // the brain folds it
	holds(t, open(t, dir), "a", "c", "b")
}

func TestAddedWakesTheForwarder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	woken := func(s *spool.Spool) bool {
		select {
		case <-s.Added():
			return true
		default:
			return false
		}
	}
	if woken(s) {
		t.Error("woken by an empty spool")
	}
	put(t, s, "a", "")
	put(t, s, "b", "")
	if !woken(s) || woken(s) {
		t.Error("two messages must wake once")
	}
	if !woken(open(t, dir)) {
		t.Error("what an earlier process left does not wake")
	}
}

func full(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want %v", err, spool.ErrFull)
	}
}

func TestStrangersAreFewAndSmall(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 16 {
		put(t, s, fmt.Sprint("of x: ", i), "x")
	}
	full(t, s.Put([]byte("of x: 16"), "x"))
	put(t, s, "of x: 3", "x") // it is held already
	put(t, s, "of y", "y")
	put(t, s, "of a node", "")
	full(t, open(t, dir).Put([]byte("of x: 16"), "x")) // also after a restart
	if err := s.Remove(s.First(1)[0].Name); err != nil {
		t.Fatal(err)
	}
	put(t, s, "of x: 16", "x")
}

func TestStrangersHaveNoMoreThanTheirBytes(t *testing.T) {
	s := open(t, t.TempDir())
	big := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 32<<10) }
	for i := range 8 {
		put(t, s, string(big(i)), fmt.Sprint("key ", i))
	}
	full(t, s.Put([]byte("x"), "key 8"))
	put(t, s, string(big(9)), "") // a node has its own room
	if err := s.Remove(s.First(1)[0].Name); err != nil {
		t.Fatal(err)
	}
	full(t, s.Put(append(big(10), 'x'), "key 8"))
	put(t, s, string(big(10)), "key 8")
}

// lay writes a record as an earlier process would have.
func lay(t testing.TB, dir string, number int, boot string, since time.Duration, wall time.Time, envelope []byte) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"boot": boot, "since_boot_ns": since, "wall": wall, "envelope": envelope})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%012d.json", number)), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnOutageDoesNotFillTheCard(t *testing.T) {
	t.Run("messages", func(t *testing.T) {
		dir := t.TempDir()
		for i := range 4095 {
			lay(t, dir, i, boot, 0, time.Now(), fmt.Append(nil, i))
		}
		s := open(t, dir)
		put(t, s, "the last", "")
		full(t, s.Put([]byte("one more"), ""))
		put(t, s, "17", "") // it is held already
		if err := s.Remove(s.First(1)[0].Name); err != nil {
			t.Fatal(err)
		}
		put(t, s, "one more", "")
		all := held(s)
		if len(all) != 4096 || all[0] != "1" || all[4095] != "one more" {
			t.Errorf("%d messages, from %q to %q", len(all), all[0], all[len(all)-1])
		}
	})
	t.Run("bytes", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, 1, boot, 0, time.Now(), bytes.Repeat([]byte("x"), 16<<20-5))
		s := open(t, dir)
		full(t, s.Put([]byte("123456"), ""))
		put(t, s, "12345", "")
		full(t, s.Put([]byte("1"), ""))
		if err := s.Remove(s.First(1)[0].Name); err != nil {
			t.Fatal(err)
		}
		put(t, s, "there is room again", "")
	})
}

// TestA3_AnEnvelopeThatIsTooLargeIsSetAside: it could never be sent, and must hold up none.
func TestA3_AnEnvelopeThatIsTooLargeIsSetAside(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, 1, boot, 0, time.Now(), bytes.Repeat([]byte("x"), 4<<10+1))
	lay(t, dir, 2, boot, 0, time.Now(), bytes.Repeat([]byte("y"), 4<<10))
	s, err := spool.Open(dir, boot, (&clock{}).now, 4<<10, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	holds(t, s, strings.Repeat("y", 4<<10))
	if _, err := os.Stat(filepath.Join(dir, "000000000001.json.broken")); err != nil {
		t.Errorf("it is lost: %v", err)
	}
	if err := s.Put(bytes.Repeat([]byte("z"), 4<<10+1), ""); err == nil {
		t.Error("what the next start sets aside is taken")
	}
}

func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", "")
	put(t, s, "b", "")
	name := s.First(1)[0].Name
	for range 2 { // again is no error
		if err := s.SetAside(name); err != nil {
			t.Fatal(err)
		}
		holds(t, s, "b")
	}
	if _, err := os.Stat(filepath.Join(dir, name+".broken")); err != nil {
		t.Errorf("it is lost: %v", err)
	}
	holds(t, open(t, dir), "b")
}

// TestR3_WhatCannotBeReadNowIsNotLost: the card has trouble, the message has none.
func TestR3_WhatCannotBeReadNowIsNotLost(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for asNobody
		t.Fatal(err)
	}
	s := open(t, dir)
	for _, e := range []string{"a", "b", "c"} {
		put(t, s, e, "")
	}
	var log bytes.Buffer
	again := func() *spool.Spool {
		defer asNobody(t)()
		s, err := spool.Open(dir, boot, (&clock{}).now, largest, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for i, m := range s.First(3) {
		if err := os.Chmod(filepath.Join(dir, m.Name), map[bool]os.FileMode{false: 0o644, true: 0}[i < 2]); err != nil {
			t.Fatal(err)
		}
	}
	s = again()
	holds(t, s, "c")
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "messages=2") || !strings.Contains(log.String(), "000000000000.json") {
		t.Errorf("logged %s", log.String())
	}
	put(t, s, "d", "")
	for name := range 4 {
		if err := os.Chmod(filepath.Join(dir, fmt.Sprintf("%012d.json", name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	holds(t, again(), "a", "b", "c", "d")
}

// asNobody lets this thread read as a user who is not root, who may read everything.
func asNobody(t *testing.T) (back func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func() {}
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := unix.SetfsuidRetUid(0); err == nil {
			runtime.UnlockOSThread() // else the thread ends with its goroutine
		}
	}
}

func TestBrokenFilesAreSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, e := range []string{"a", "b", "c", "d", "e", "f"} {
		put(t, s, e, "")
	}
	names := []string{}
	for _, m := range s.First(9) {
		names = append(names, m.Name)
	}
	broken := map[string]string{names[1]: "", names[2]: `{"boot":"x","envelope":"YW`, names[3]: "\x00\x00\x00", names[5]: `{"boot":"x"}`}
	for name, text := range broken {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"notes.txt", ".000000000007.json.tmp12", "x.json"} {
		if err := os.WriteFile(filepath.Join(dir, other), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s, err := spool.Open(dir, boot, (&clock{}).now, largest, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a", "e")
	for name, text := range broken {
		if got, err := os.ReadFile(filepath.Join(dir, name+".broken")); err != nil || string(got) != text {
			t.Errorf("%s is lost: %q, %v", name, got, err)
		}
		if !strings.Contains(log.String(), name) {
			t.Errorf("%s is not in the log", name)
		}
	}
	put(t, s, "g", "") // behind all numbers ever given
	if got := s.First(9)[2].Name; got <= names[5] {
		t.Errorf("the next one is %s, which is not behind %s", got, names[5])
	}
	holds(t, open(t, dir), "a", "e", "g")
}

func TestA3_AFailingDiskAcknowledgesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir)
	put(t, s, "a", "")
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := s.Put([]byte("b"), ""); err == nil || errors.Is(err, spool.ErrFull) {
		t.Errorf("got %v, want that the disk failed", err)
	}
	holds(t, s, "a")
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	put(t, s, "b", "")
	holds(t, s, "a", "b")
	holds(t, open(t, dir), "a", "b")
}

func TestAges(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	lay(t, dir, 1, boot, 10*time.Minute, now.Add(9000*time.Hour), []byte("this boot, whatever the wall says"))
	lay(t, dir, 2, boot, 2*time.Hour, now, []byte("this boot, from the future"))
	lay(t, dir, 3, "another", 50*time.Minute, now.Add(-time.Hour), []byte("over a reboot"))
	lay(t, dir, 4, "another", 0, now.Add(time.Hour), []byte("over a reboot, the clock was set back"))
	lay(t, dir, 5, "another", 0, time.Unix(0, 0), []byte("from before the clock was set"))
	c := &clock{time.Hour}
	s := openAt(t, dir, boot, c.now)
	put(t, s, "now", "")
	c.d += 7 * time.Second
	want := []time.Duration{50*time.Minute + 7*time.Second, 0, time.Hour, 0, month, 7 * time.Second}
	for i, m := range s.First(9) {
		if d := m.Age - want[i]; d < 0 || d > 30*time.Second || d > 0 && i != 2 { // the wall clock runs meanwhile
			t.Errorf("%s: age %v, want %v", m.Envelope, m.Age, want[i])
		}
	}
}

func TestPutIsSafeForConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if err := s.Put(fmt.Append(nil, "message ", i%12), ""); err != nil {
				t.Error(err)
			}
			if ms := s.First(3); len(ms) > 0 && i%6 == 5 {
				if err := s.Remove(ms[0].Name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	holds(t, open(t, dir), held(s)...)
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"boot":"` + boot + `","since_boot_ns":5,"wall":"2031-05-06T07:08:09Z","stranger":"ed25519:x","envelope":"YWJj"}`))
	f.Add([]byte(`{"boot":"x","since_boot_ns":-9223372036854775808,"wall":"0000-01-01T00:00:00Z","envelope":"YQ=="}`))
	f.Add([]byte(`{"envelope":null}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		name := filepath.Join(dir, "000000000003.json")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		_, aside := os.Stat(name + ".broken")
		switch ms := s.First(2); {
		case len(ms) == 0 && aside != nil:
			t.Error("it is neither held nor set aside")
		case len(ms) == 1 && (aside == nil || len(ms[0].Envelope) == 0 || ms[0].Age < 0 || ms[0].Age > month):
			t.Errorf("holds %v, set aside: %v", ms, aside)
		}
		put(t, s, "the next", "")
		if got := held(open(t, dir)); got[len(got)-1] != "the next" {
			t.Errorf("it holds %q", got)
		}
	})
}
