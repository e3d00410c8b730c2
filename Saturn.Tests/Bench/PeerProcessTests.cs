using NUnit.Framework;
using Saturn.Bench;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Bench;

[TestFixture]
public sealed class PeerProcessTests
{
    /// <summary>Speaks the protocol without PyTorch: every timing is 2 ms, and the channel count decides how it misbehaves.</summary>
    private const string FakePeer = """
        import json, sys, time
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "hello":
                print(json.dumps({"torch": "0.0", "onednn": "0.0", "capability": "none", "peak_rss_bytes": 1}), flush=True)
            elif request["do"] == "release":
                print(json.dumps({"released": 1}), flush=True)
            elif request.get("in") == 1:
                print(json.dumps({"error": "ValueError: one channel"}), flush=True)
            elif request.get("in") == 2:
                sys.exit("goodbye")
            elif request.get("in") == 3:
                time.sleep(60)
            elif request.get("in") == 4:
                print("not JSON", flush=True)
            else:
                print(json.dumps({"milliseconds": [2.0] * request["repetitions"], "peak_rss_bytes": 1 << 20, "loss": None}), flush=True)
        """;

    private string script = "";

    [OneTimeSetUp]
    public void WriteFakePeer()
    {
        if (!File.Exists("/usr/bin/python3"))
        {
            Assert.Ignore("/usr/bin/python3 is not there, so no peer process can be tested.");
        }

        script = Path.Combine(Path.GetTempPath(), $"saturn-fake-peer-{Guid.NewGuid():N}.py");
        File.WriteAllText(script, FakePeer);
    }

    [OneTimeTearDown]
    public void RemoveFakePeer() => File.Delete(script);

    private PeerProcess Start(double patienceSeconds = 30) =>
        PeerProcess.StartTorch("/usr/bin/python3", script, TimeSpan.FromSeconds(patienceSeconds));

    private static PeerWork Work(int channels) => PeerWork.Convolution(LayerPass.Forward, new ConvolutionShape(1, 4, 4, channels, 8, 3, 3), threads: 1);

    [Test]
    public void RoundsAreAnswered()
    {
        using PeerProcess peer = Start();

        Assert.That(peer.Name, Is.EqualTo("PyTorch 0.0, oneDNN 0.0"));
        Assert.That(peer.Run(Work(8), warmup: 1, repetitions: 3).Milliseconds, Is.EqualTo(new[] { 2.0, 2.0, 2.0 }));
        Assert.That(peer.PeakResidentBytes(Work(8)), Is.EqualTo(1 << 20));
        Assert.That(peer.Release, Throws.Nothing);
    }

    [Test]
    public void AnErrorIsToldAndThePeerStaysUsable()
    {
        using PeerProcess peer = Start();

        Assert.That(() => peer.Run(Work(1), 0, 1), Throws.TypeOf<PeerException>().With.Message.Contains("one channel"));
        Assert.That(peer.Run(Work(8), 0, 1).Milliseconds, Has.Count.EqualTo(1));
    }

    [Test]
    public void ADeadPeersLastWordsAreTold()
    {
        using PeerProcess peer = Start();

        Assert.That(() => peer.Run(Work(2), 0, 1), Throws.TypeOf<PeerException>().With.Message.Contains("goodbye"));
        Assert.That(() => peer.Run(Work(8), 0, 1), Throws.TypeOf<PeerException>());
    }

    [Test]
    public void ASilentPeerIsEnded()
    {
        using PeerProcess peer = Start(patienceSeconds: 1);

        Assert.That(() => peer.Run(Work(3), 0, 1), Throws.TypeOf<PeerException>().With.Message.Contains("within 1 s"));
    }

    [Test]
    public void AnAnswerThatIsNotJsonIsShown()
    {
        using PeerProcess peer = Start();

        Assert.That(() => peer.Run(Work(4), 0, 1), Throws.TypeOf<PeerException>().With.Message.Contains("not JSON"));
    }

    [Test]
    public void AMissingInterpreterNamesTheInstaller() => Assert.That(
        () => PeerProcess.StartTorch("/nowhere/python3", script),
        Throws.TypeOf<PeerException>().With.Message.Contains("tools/install-peers.sh").And.Message.Contains(PeerProcess.InterpreterVariable));

    [Test]
    public void AnInterpreterWithoutTorchNamesTheInstaller()
    {
        string shadow = Directory.CreateTempSubdirectory("saturn-no-torch").FullName;
        try
        {
            // A module of that name that cannot be imported stands in for one that is not installed.
            File.WriteAllText(Path.Combine(shadow, "torch.py"), "raise ImportError('No module named torch')");
            string copy = Path.Combine(shadow, "torch_cpu.py");
            File.Copy(Path.Combine(AppContext.BaseDirectory, "peers", "torch_cpu.py"), copy);

            Assert.That(
                () => PeerProcess.StartTorch("/usr/bin/python3", copy),
                Throws.TypeOf<PeerException>().With.Message.Contains("cannot be imported").And.Message.Contains("tools/install-peers.sh"));
        }
        finally
        {
            Directory.Delete(shadow, recursive: true);
        }
    }

    [Test]
    public void StepBenchRacesEveryCase()
    {
        using PeerProcess peer = Start();
        int steps = 0;
        StepCase[] cases = [StepCase.Scaled(16, 4), StepCase.Scaled(16, 4, 0.5), StepCase.Scaled(16, 8)];
        StepBenchOptions options = new("saturn bench step", "a device", Threads: 1, new Repetition(Rounds: 2, Warmup: 1, Repetitions: 2));

        BenchTable table = StepBench.Run(cases, _ => new CountingWorkload(() => { steps++; Thread.Sleep(1); }), peer, _ => 3 << 20, options);

        Assert.That(steps, Is.EqualTo(cases.Length * 2 * 3));
        Assert.That(table.Rows, Has.Count.EqualTo(3));
        Assert.That(table.Rows[1][1], Is.EqualTo("8/16/32/64"));
        Assert.That(table.Rows[1][7], Is.EqualTo("3 MiB"));
        Assert.That(table.Rows[1].Skip(8).Take(5), Is.EqualTo(new[] { "2.00", "2.00–2.00", "2000", "1.00×", "1 MiB" }));
        Assert.That(table.Rows[2][11], Is.EqualTo("–"), "no gain between different batches");
        Assert.That(table.Rows[0][^1], Does.EndWith("×"));
    }

    [Test]
    public void TheRealPeerTrainsAndConvolves()
    {
        PeerProcess peer;
        try
        {
            peer = PeerProcess.StartTorch();
        }
        catch (PeerException exception)
        {
            Assert.Ignore($"PyTorch is not there: {exception.Message}");
            return;
        }

        using (peer)
        {
            PeerReply step = peer.Run(PeerWork.TrainStep(StepCase.Scaled(4, 2), threads: 1), warmup: 0, repetitions: 2);
            Assert.That(step.Milliseconds, Has.Count.EqualTo(2).And.All.GreaterThan(0));
            Assert.That(step.Loss, Is.Not.Null.And.GreaterThan(0));
            Assert.That(step.PeakResidentBytes, Is.GreaterThan(peer.IdleResidentBytes / 2));
            ConvolutionShape shape = new(2, 8, 8, 5, 7, 3, 3, 2, 2, 1, 1);
            foreach (LayerPass pass in Enum.GetValues<LayerPass>())
            {
                Assert.That(peer.Run(PeerWork.Convolution(pass, shape, 1), 0, 1).Milliseconds, Has.Count.EqualTo(1));
            }

            Assert.That(peer.Run(PeerWork.BatchNorm(true, 2, 4, 4, 5, 1), 0, 1).Milliseconds, Has.Count.EqualTo(1));
            Assert.That(peer.Run(PeerWork.BatchNorm(false, 2, 4, 4, 5, 1), 0, 1).Milliseconds, Has.Count.EqualTo(1));
            Assert.That(peer.Run(PeerWork.Optimizer(100, 2, 1), 0, 1).Milliseconds, Has.Count.EqualTo(1));
        }
    }

    [TestCase("""{"milliseconds":[1.5,2],"peak_rss_bytes":1024,"loss":0.5}""")]
    [TestCase("""{"milliseconds":[1.5,2],"peak_rss_bytes":1024,"loss":0.5,"later":"field"}""")]
    public void RepliesAreParsed(string line)
    {
        PeerReply reply = PeerReply.Parse(line);

        Assert.That(reply.Milliseconds, Is.EqualTo(new[] { 1.5, 2 }));
        Assert.That(reply.PeakResidentBytes, Is.EqualTo(1024));
        Assert.That(reply.Loss, Is.EqualTo(0.5));
    }

    [TestCase("""{"peak_rss_bytes":1024}""")]
    [TestCase("""{"milliseconds":"soon","peak_rss_bytes":1024}""")]
    [TestCase("""[1, 2]""")]
    [TestCase("Segmentation fault")]
    public void OtherAnswersAreRefusedAndShown(string line) =>
        Assert.That(() => PeerReply.Parse(line), Throws.TypeOf<PeerException>().With.Message.Contains(line));

    [Test]
    public void RequestsCarryTheWork()
    {
        PeerWork work = PeerWork.TrainStep(new StepCase("pruned", 32, [3, 5, 7, 9], [1, 2, 3, 4, 5, 6, 7, 8]), threads: 2);

        Assert.That(work.ToRequest("run", 1, 3), Is.EqualTo(
            """{"do":"run","work":"train_step","batch":32,"channels":[3,5,7,9],"inner":[1,2,3,4,5,6,7,8],"threads":2,"warmup":1,"repetitions":3}"""));
        Assert.That(
            () => PeerWork.Convolution(LayerPass.Forward, new ConvolutionShape(1, 4, 4, 4, 4, 3, 3, Groups: 2), 1), Throws.ArgumentException.With.Message.Contains("one group"));
    }

    private sealed class CountingWorkload(Action step) : ITrainingStepWorkload
    {
        public void Step() => step();

        public void Dispose()
        {
        }
    }
}
