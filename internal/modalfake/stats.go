package modalfake

import "maps"

// Stats are the fake's counters.
type Stats struct {
	Created int64 // sandboxes
	Deduped int64 // creations that were answered with an earlier one's sandbox
	Alive   int64 // sandboxes
	// Ended counts sandboxes by how they did.
	Terminated, TimedOut, IdledOut, Exited int64

	ExecsStarted   int64 // accepted by TaskExecStart, once for each id
	ExecDuplicates int64 // the same id again
	ExecsRunning   int64
	ExecsTimedOut  int64
	Commands       int64 // programs that were really started
	FSCalls        int64 // of them those of the SDK's file system calls
	Processes      int64 // of this server's that are alive now, orphans and daemons included

	Streams int64 // output streams open
	Resumed int64 // output streams opened in the middle

	RPCs   map[string]int64 // calls that arrived, by method
	Faults map[string]int64 // of them those that an injected fault met
}

// Calls returns the number of RPCs of all methods.
func (s Stats) Calls() (n int64) {
	for _, m := range s.RPCs {
		n += m
	}
	return n
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	processes := s.census.carriers(s.mark)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stats
	now.RPCs = maps.Clone(s.stats.RPCs)
	now.Faults = maps.Clone(s.stats.Faults)
	now.Processes = processes
	return now
}

// count changes the counters.
func (s *Server) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}
