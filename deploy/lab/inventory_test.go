package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestInventoryExample gives what Ansible's example makes of cloud.yaml and pi.yaml to the
// programs: who fills in their own names and numbers has something that works.
func TestInventoryExample(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	text, err := os.ReadFile("../../ansible/inventory.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	var inventory struct {
		All struct {
			Children struct {
				Brain struct {
					Vars struct {
						Config any `yaml:"sentinel_cloud_config"`
					}
				}
				Pis struct {
					Hosts map[string]struct {
						Config any `yaml:"sentinel_pi_config"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &inventory); err != nil {
		t.Fatal(err)
	}
	groups := inventory.All.Children
	for pkg, config := range map[string]any{"cloud": groups.Brain.Vars.Config, "pi-proxy": groups.Pis.Hosts["raspberry"].Config} {
		text, err := yaml.Marshal(config)
		if err != nil || config == nil {
			t.Fatalf("the example has nothing for %s: %v", pkg, err)
		}
		path := filepath.Join(t.TempDir(), pkg+".yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "run", "sentinel.home.arpa/"+pkg, "check-config", "--config", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", pkg, err, out)
		}
	}
}
