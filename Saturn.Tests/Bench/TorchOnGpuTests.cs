using NUnit.Framework;
using Saturn.Bench;
using Saturn.Bench.Gpu;
using Saturn.Bench.Works;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Layers.Models;

namespace Saturn.Tests.Bench;

/// <summary><c>tools/peers/torch_gpu.py</c>, on PyTorch's CPU device.</summary>
[TestFixture]
public sealed class TorchOnGpuTests
{
    private PeerProcess? peer;

    [OneTimeSetUp]
    public void Start()
    {
        try
        {
            peer = PeerProcess.StartTorchOnGpu("cpu", TimeSpan.FromMinutes(2));
        }
        catch (PeerException exception)
        {
            Assert.Ignore($"PyTorch is not there: {exception.Message}");
        }
    }

    [OneTimeTearDown]
    public void End() => peer?.Dispose();

    [Test]
    public void Every_kind_of_work_runs()
    {
        HashSet<string> kinds = [];
        foreach (KernelWork work in KernelCatalog.At(new WorkScale(1, 4, 8)))
        {
            // A kind is a work with its direction and other words; sizes do not matter.
            string? request = work.Peer?.ToRequest("run", 0, 1);
            if (request is null || !kinds.Add(System.Text.RegularExpressions.Regex.Replace(request, "\"[a-z_]+\":[0-9]+,?", "")))
            {
                continue;
            }

            PeerReply reply = peer!.Run(work.Peer!.On(Precision.Fp32, compiled: false), 0, 1);
            Assert.That(reply.Milliseconds, Has.Count.EqualTo(1).And.All.Positive, request);
            Assert.That(reply.Parameters, Is.Null);
        }

        string[] works = ["convolution", "normalization", "update", "clip", "matrix", "max_pool", "average_pool", "softmax", "argument_maximum", "permutation", "concatenation", "cross_entropy"];
        Assert.That(works.Where(name => !kinds.Any(kind => kind.Contains($"\"work\":\"{name}\"", StringComparison.Ordinal))), Is.Empty);
        Assert.That(peer!.Release, Throws.Nothing);
    }

    [Test]
    public void Models_have_as_many_weights_as_ours([Values("resnet18", "resnet50", "vgg16")] string name)
    {
        // The stem of large images above 64 pixels; narrow, so that a step is short.
        foreach (ModelCase one in ModelCase.Of(name, 8, 2, name == "resnet50" ? 96 : 32))
        {
            using CpuDevice host = new(1);
            using Model model = ModelFactory.Create(new ModelRecipe(one.Model, one.Width, one.Classes, one.Image, one.Image, 3), host, new ChannelPlan(one.Plan));
            PeerReply reply = peer!.Run(PeerWork.ModelStep(one).On(Precision.Fp32, compiled: false), 0, 1);
            Assert.That(reply.Parameters, Is.EqualTo(model.Parameters.Where(parameter => parameter.IsTrained).Sum(parameter => parameter.Value.Shape.ElementCount)), one.Name);
            Assert.That(reply.Loss, Is.Positive.And.LessThan(100));
            peer.Release();
        }
    }

    [Test]
    public void What_it_does_not_know_is_told_and_it_stays_usable()
    {
        Assert.That(() => peer!.Run(PeerWork.TrainStep(StepCase.Scaled(4, 2), 1), 0, 1), Throws.TypeOf<PeerException>().With.Message.Contains("'train_step' is not known").And.Message.Contains("model_step"));
        Assert.That(peer!.Run(PeerWork.CrossEntropy(4, 3).On(Precision.Bf16, compiled: false), 0, 1).Milliseconds, Has.Count.EqualTo(1));
    }
}
