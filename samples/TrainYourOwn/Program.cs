// Train a module of your own on arrays of your own: two spirals, told apart by a small perceptron.
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Layers;

const int Points = 400;
float[] inputs = new float[Points * 2];
int[] labels = new int[Points];
for (int i = 0; i < Points; i++)
{
    labels[i] = i % 2;
    float turn = 1 + 9 * (i / 2) / (Points / 2f);
    inputs[2 * i] = 0.1f * turn * MathF.Cos(turn + MathF.PI * labels[i]);
    inputs[2 * i + 1] = 0.1f * turn * MathF.Sin(turn + MathF.PI * labels[i]);
}

using Device device = new CpuDevice();
using SpiralNetwork network = new(device);
Initializer.Initialize(network, seed: 1);
using Adam optimizer = new([new ParameterGroup(network.Parameters, learningRate: 0.01)]);
using Tensor x = Tensor.FromValues(device, new Shape(Points, 2), inputs);
using Tensor y = Tensor.FromValues(device, labels);

for (int step = 0; step <= 600; step++)
{
    // Everything that the step makes is freed when the scope closes.
    using TensorScope scope = new();
    Tensor logits = network.Forward(x);
    Tensor loss = Operation.SoftmaxCrossEntropy(logits, y);
    loss.Backward();
    optimizer.Step();
    if (step % 200 == 0)
    {
        float[] scores = logits.ToArray();
        int right = Enumerable.Range(0, Points).Count(i => (scores[2 * i + 1] > scores[2 * i] ? 1 : 0) == labels[i]);
        Console.WriteLine($"step {step}: loss {loss.ToScalar():F3}, {right} of {Points} right");
    }
}

internal sealed class SpiralNetwork : Module
{
    private readonly Linear first;
    private readonly Linear second;
    private readonly Linear last;

    public SpiralNetwork(Device device)
        : base(device)
    {
        first = Register("first", new Linear(device, 2, 32));
        second = Register("second", new Linear(device, 32, 32));
        last = Register("last", new Linear(device, 32, 2));
    }

    public override Tensor Forward(Tensor input)
    {
        Tensor hidden = Operation.Activate(first.Forward(input), Activation.Silu());
        return last.Forward(Operation.Relu(second.Forward(hidden)));
    }
}
