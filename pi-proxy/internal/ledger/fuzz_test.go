package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sentinel.home.arpa/pi-proxy/internal/ledger"
)

// FuzzBundle: whatever lies in the bundle's file, it is refused, or is the same when it
// is stored and read again.
func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"hash":"x","brain_key":"ed25519:x","bundle":{"site":"home","armed":true,"plan":{"site":"home","nodes":[{"name":"pve1","api":"https://192.0.2.1:8006"}],"stages":[{"nodes":["pve1"],"deadline":60000000000}]},"policy":{"ride_through":1},"keys":{"pve1":"k"}}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"bundle":{"keys":null,"pis":[null]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bundle.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		first, err := l.Bundle()
		if err != nil {
			return
		}
		first.Bundle.Plan.Need()
		if err := l.SetBundle(*first); err != nil {
			t.Fatalf("what was read cannot be stored: %v", err)
		}
		second, err := l.Bundle()
		if err != nil || !cmp.Equal(first, second, cmpopts.EquateEmpty()) {
			t.Errorf("%v\n%s", err, cmp.Diff(first, second, cmpopts.EquateEmpty()))
		}
	})
}
