package result

import "time"

// Manifest describes how the samples of a folder were taken, and how to repeat that.
type Manifest struct {
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Profile string    `json:"profile"`
	// Planned and Done count runs. Partial says why they differ, if they do.
	Planned int    `json:"runs_planned"`
	Done    int    `json:"runs_done"`
	Partial string `json:"partial,omitempty"`
	// Repeats is how often each variant was measured in each scenario at most, and
	// Order is the order of the variants.
	Repeats int    `json:"repeats"`
	Order   string `json:"order"`

	// Commit that the server was built from, with "+changes" if the tree had any; ""
	// if it is unknown.
	Commit string `json:"commit,omitempty"`
	Server string `json:"server"` // what server -version prints
	Go     string `json:"go"`     // of compare itself
	Redis  Redis  `json:"redis"`

	Host   Host   `json:"host"`
	Limits Limits `json:"limits"`
	CPUs   CPUs   `json:"cpus"`

	Variants  []Variant  `json:"arms"`
	Scenarios []Scenario `json:"scenarios"`
	// Skipped are pairs of variant and scenario that were not run, and why.
	Skipped []Skipped `json:"skipped,omitempty"`
	// Failed are runs that left no figures.
	Failed []Failed `json:"failed,omitempty"`

	// Args are compare's arguments, and Repeat is a command line that repeats the
	// measurement.
	Args   []string `json:"args"`
	Repeat string   `json:"repeat"`
}

// Redis describes the Redis that was used.
type Redis struct {
	Embedded bool   `json:"embedded"`
	Version  string `json:"version"`
}

// Host is the machine, without its name.
type Host struct {
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Memory  uint64 `json:"memory_bytes"`
	Virtual bool   `json:"virtual"`
}

// Limits are system settings that affect the figures; those that could not be read are
// missing.
type Limits struct {
	Files    uint64            `json:"open_files"`
	Settings map[string]string `json:"settings"`
}

// CPUs describes the placement of the processes.
type CPUs struct {
	Server []int `json:"server"`
	// Load are the CPUs of load and compare; if it and Server are empty, any.
	Load  []int `json:"load"`
	Redis []int `json:"redis"`
	// Says is the same in a sentence.
	Says string `json:"says"`
}

// Variant is something that was measured.
type Variant struct {
	Name string   `json:"name"`
	Env  []string `json:"env,omitempty"`
	// External is the address of a server that compare did not start.
	External string `json:"external,omitempty"`
}

// Scenario is a scenario that variants were measured in.
type Scenario struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Shows is the purpose, and Load describes the load.
	Shows string `json:"shows"`
	Load  string `json:"load"`
	// Env is the environment that the scenario set for every server that compare
	// started.
	Env []string `json:"env,omitempty"`
}

// Skipped is a pair that was not run.
type Skipped struct {
	Variant  string `json:"arm"`
	Scenario string `json:"scenario"`
	Why      string `json:"why"`
}

// Failed is a run that ended without figures.
type Failed struct {
	Variant  string `json:"arm"`
	Scenario string `json:"scenario"`
	Repeat   int    `json:"repeat"`
	Why      string `json:"why"`
}

// ScenarioOf returns the scenario with that name. The title of an unknown one is its
// name.
func (m *Manifest) ScenarioOf(name string) Scenario {
	for _, s := range m.Scenarios {
		if s.Name == name {
			return s
		}
	}
	return Scenario{Name: name, Title: name}
}
