package logclient_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-io/millstream/internal/peers"
	"github.com/millstream-io/millstream/runtime/internal/logclient"
	"github.com/millstream-io/millstream/runtime/internal/logclient/kafka"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peers.StopShared()
	os.Exit(code)
}

// TestIntegrationSuiteOnKafka runs the whole suite on a real Apache Kafka.
func TestIntegrationSuiteOnKafka(t *testing.T) {
	suiteOn(t, peers.NeedKafkaBroker(t).Addr())
}

// TestIntegrationSuiteOnServe runs it on `millstream serve`.
func TestIntegrationSuiteOnServe(t *testing.T) {
	suiteOn(t, peers.NeedServe(t).Addr())
}

// suiteOn runs every test of the suite with the cluster as the only implementation.
func suiteOn(t *testing.T, addr string) {
	saved := implementations
	defer func() { implementations, settling = saved, 0 }()
	settling = patience
	implementations = []implementation{{"kafka", func(t testing.TB) (logclient.Log, func() logclient.Log) {
		return openCluster(t, addr)
	}}}
	for name, test := range suite {
		t.Run(name, test)
	}
}

// openCluster opens the log of a cluster that others have used before, emptied.
func openCluster(t testing.TB, addr string) (logclient.Log, func() logclient.Log) {
	empty(t, addr)
	var l *kafka.Log
	open := func() logclient.Log {
		var err error
		l, err = kafka.Open(testContext(t), kafka.Config{Seeds: []string{addr}})
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

// empty deletes all topics but the cluster's own, and all groups.
func empty(t testing.TB, addr string) {
	t.Helper()
	ctx := testContext(t)
	cl := must(kgo.NewClient(kgo.SeedBrokers(addr), kgo.MetadataMinAge(10*time.Millisecond)))(t)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	topics := must(adm.ListTopics(ctx))(t)
	if names := topics.Names(); len(names) > 0 {
		noError(t, must(adm.DeleteTopics(ctx, names...))(t).Error())
	}
	groups := must(adm.ListGroups(ctx))(t)
	if names := groups.Groups(); len(names) > 0 {
		noError(t, must(adm.DeleteGroups(ctx, names...))(t).Error())
	}
	for { // a deletion is told before it is done
		if left := must(adm.ListTopics(ctx))(t).Names(); len(left) == 0 {
			return
		}
		if err := context.Cause(ctx); err != nil {
			t.Fatalf("topics that were deleted are still there: %s: %v", strings.Join(topics.Names(), ", "), err)
		}
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
