using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Kernels;

namespace Saturn.Tests.Engine;

/// <summary>Ground of tests that work with tensors: a fresh device for each test, and nothing left on it or on the tape afterwards.</summary>
public abstract class EngineTest(string deviceName)
{
    protected Device Device { get; private set; } = null!;

    [SetUp]
    public void OpenDevice()
    {
        Device = TestDevices.Open(deviceName);
        Assert.That(Device.Name, Is.EqualTo(deviceName.Split(' ')[0]), "a test must run on the device it names");
    }

    [TearDown]
    public void CloseDevice()
    {
        int nodes = Tape.Current.Count;
        Tape.Current.Clear();
        int buffers = Device.Memory.LiveBuffers;
        string sites = buffers == 0 ? "" : LiveTensors.Describe();
        Device.Dispose();
        Assert.That(nodes, Is.Zero, "nodes left on the tape");
        Assert.That(buffers, Is.Zero, $"device buffers left behind. {sites}");
    }
}
