package logclient_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// TestIntegrationSuiteOnKafkaCluster runs the whole suite on a real Apache Kafka
// of three brokers: three replicas, two of them in sync for acks=all.
func TestIntegrationSuiteOnKafkaCluster(t *testing.T) {
	suiteOn(t, peers.NeedKafkaCluster(t).Addrs())
}

// TestTortureSuiteOnOneKafkaBroker runs it where there is only one replica.
func TestTortureSuiteOnOneKafkaBroker(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Skip("skipped: runs in `make torture`")
	}
	t.Setenv("INTEGRATION", "1")
	suiteOn(t, peers.NeedKafkaBroker(t).Addr())
}

// TestIntegrationSuiteOnServe runs it on `millstream serve`.
func TestIntegrationSuiteOnServe(t *testing.T) {
	suiteOn(t, peers.NeedServe(t).Addr())
}

// suiteOn runs every test of the suite with the cluster as the only implementation.
func suiteOn(t *testing.T, addrs string) {
	saved := implementations
	defer func() { implementations, settling = saved, 0 }()
	settling = patience
	implementations = []implementation{{"kafka", func(t testing.TB) (logclient.Log, func() logclient.Log) {
		return openCluster(t, strings.Split(addrs, ","))
	}}}
	for name, test := range suite {
		t.Run(name, test)
	}
}

// openCluster opens the log of a cluster that others have used before, emptied.
func openCluster(t testing.TB, seeds []string) (logclient.Log, func() logclient.Log) {
	peers.EmptyCluster(t, seeds...)
	var l *kafka.Log
	open := func() logclient.Log {
		var err error
		l, err = kafka.Open(testContext(t), kafka.Config{Seeds: seeds})
		noError(t, err)
		return l
	}
	open()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, func() logclient.Log {
		noError(t, l.Close())
		return open()
	}
}

// suite is every test of the seam; TestSuiteIsWhole keeps it so.
var suite = map[string]func(*testing.T){
	"WritersAndReadersAtOnce":                               TestWritersAndReadersAtOnce,
	"SoleMemberGetsEverythingOnce":                          TestSoleMemberGetsEverythingOnce,
	"JoinNamesAMissingTopic":                                TestJoinNamesAMissingTopic,
	"PositionsAreCommittedWithTheTransactionAndOnlyWithIt":  TestPositionsAreCommittedWithTheTransactionAndOnlyWithIt,
	"PositionsOfAnOldGenerationAreRefused":                  TestPositionsOfAnOldGenerationAreRefused,
	"ReaderReturnsEachPartitionInOffsetOrder":               TestReaderReturnsEachPartitionInOffsetOrder,
	"ReaderBeginsAtTheOffsetAskedFor":                       TestReaderBeginsAtTheOffsetAskedFor,
	"EverythingOfARecordIsKept":                             TestEverythingOfARecordIsKept,
	"AppendCopies":                                          TestAppendCopies,
	"WaitingPollIsWokenByACommit":                           TestWaitingPollIsWokenByACommit,
	"PollEndsWithItsContext":                                TestPollEndsWithItsContext,
	"ReadCommittedHoldsBackUndecidedAndSkipsAbortedRecords": TestReadCommittedHoldsBackUndecidedAndSkipsAbortedRecords,
	"InterleavedTransactionsAreToldApart":                   TestInterleavedTransactionsAreToldApart,
	"AbortedTransactionsOverlapInAnyOrder":                  TestAbortedTransactionsOverlapInAnyOrder,
	"AssignPauseResume":                                     TestAssignPauseResume,
	"OffsetOutOfRangeIsTyped":                               TestOffsetOutOfRangeIsTyped,
	"PollIsFairOverPartitions":                              TestPollIsFairOverPartitions,
	"KeptChunksStayAsTheyWere":                              TestKeptChunksStayAsTheyWere,
	"BatchesMayBeHeldWhileOthersAreRead":                    TestBatchesMayBeHeldWhileOthersAreRead,
	"EnsureCreatesWhatIsMissingAndDescribesInOrder":         TestEnsureCreatesWhatIsMissingAndDescribesInOrder,
	"EnsureRefusesAnotherNumberOfPartitions":                TestEnsureRefusesAnotherNumberOfPartitions,
	"EnsureFromManyGoroutinesMakesOneTopic":                 TestEnsureFromManyGoroutinesMakesOneTopic,
	"UnknownTopicsAreNamed":                                 TestUnknownTopicsAreNamed,
	"OffsetsOfEveryKind":                                    TestOffsetsOfEveryKind,
	"DeleteBeforeRaisesTheStart":                            TestDeleteBeforeRaisesTheStart,
	"ReopenedLogHasEverythingThatWasCommitted":              TestReopenedLogHasEverythingThatWasCommitted,
	"ClosedLogSaysSo":                                       TestClosedLogSaysSo,
	"TransactionIsAtomicOverPartitions":                     TestTransactionIsAtomicOverPartitions,
	"CommitTellsTheOffsetAfterTheLastRecord":                TestCommitTellsTheOffsetAfterTheLastRecord,
	"EmptyTransactions":                                     TestEmptyTransactions,
	"BufferedIsBounded":                                     TestBufferedIsBounded,
	"SecondWriterFencesTheFirst":                            TestSecondWriterFencesTheFirst,
	"OtherTransactionalIDsAreNotFenced":                     TestOtherTransactionalIDsAreNotFenced,
	"SuccessorAbortsWhatACrashLeft":                         TestSuccessorAbortsWhatACrashLeft,
	"CommitWithAnEndedContextDoesNothing":                   TestCommitWithAnEndedContextDoesNothing,
	"LargeRecords":                                          TestLargeRecords,
	"ManyPartitions":                                        TestManyPartitions,
}

func TestSuiteIsWhole(t *testing.T) {
	files := must(filepath.Glob("*_test.go"))(t)
	for _, file := range files {
		text := string(must(os.ReadFile(file))(t))
		for _, f := range regexp.MustCompile(`(?m)^func Test(\w+)\(t \*testing\.T\) \{\n\t(onEach|for _, impl)`).FindAllStringSubmatch(text, -1) {
			if suite[f[1]] == nil {
				t.Errorf("%s: Test%s is not in the suite that runs on clusters", file, f[1])
			}
		}
	}
}
