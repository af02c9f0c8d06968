package ground

import (
	"slices"
	"testing"
)

func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		own, mounts string
		want        []string
	}{
		"both kinds": {
			own: "5:cpu,cpuacct:/\n4:memory:/a/b\n2:name=systemd:/\n0::/\n",
			mounts: `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`,
			want: []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"},
		},
		"the unified one, in a service": {
			own:    "0::/system.slice/runner.service\n",
			mounts: "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			want:   []string{"/sys/fs/cgroup/system.slice/runner.service"},
		},
		"in a container that sees its own part": {
			own:    "0::/docker/abc\n",
			mounts: "29 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			want:   []string{"/sys/fs/cgroup"},
		},
		"nonsense": {own: "x\n1:2\n", mounts: "- - -\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := places(c.own, c.mounts); !slices.Equal(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}
