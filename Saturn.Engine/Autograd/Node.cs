using Saturn.Kernels;

namespace Saturn.Engine.Autograd;

/// <summary>
/// One recorded operation: what its backward pass needs, and how to go back. A node has one differentiable output. Nodes are recycled: a subclass
/// assigns all its fields when it is rented, and keeps data alive only through <see cref="Save"/>.
/// </summary>
public abstract class Node
{
    private Storage?[] saved = new Storage?[4];
    private TensorHandle[] inputs = new TensorHandle[4];
    private int savedCount;
    private int inputCount;
    private TensorHandle? output;

    internal Stack<Node>? Pool { get; set; }

    /// <summary>Number of inputs, in the order of <see cref="Tape.Record"/>.</summary>
    public int InputCount => inputCount;

    /// <summary>The device the operation ran on.</summary>
    public Device Device => output!.Device;

    /// <summary>One input value.</summary>
    public TapeValue Input(int index)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)inputCount, nameof(index));
        return new TapeValue(inputs[index].Id, inputs[index].Shape, inputs[index].Parameter);
    }

    /// <summary>The output value.</summary>
    public TapeValue Output => new(output!.Id, output.Shape, output.Parameter);

    /// <summary>Keeps a tensor's data until the backward pass has run or the node is dropped. Saving nothing (<c>default</c>) is allowed.</summary>
    public SavedTensor Save(Tensor tensor)
    {
        if (tensor.IsNone)
        {
            return default;
        }

        TensorHandle handle = tensor.Handle;
        Storage storage = handle.Storage!;
        storage.Retain();
        if (savedCount == saved.Length)
        {
            Array.Resize(ref saved, savedCount * 2);
        }

        saved[savedCount++] = storage;
        return new SavedTensor(storage, handle.Shape);
    }

    /// <summary>Computes the inputs' gradients from the output's. The contract of each operation is ∂L/∂input = Jᵀ·∂L/∂output.</summary>
    /// <param name="context">Where the output's gradient is and where the inputs' go.</param>
    protected internal abstract void Backward(in BackwardContext context);

    internal TensorHandle InputHandle(int index) => inputs[index];

    internal TensorHandle OutputHandle => output!;

    /// <summary>Whether an input's value is another input's as well.</summary>
    internal bool ReadsTwice(int input) => inputs.AsSpan(0, inputCount).Count(inputs[input]) > 1;

    internal void Connect(Tensor result, ReadOnlySpan<Tensor> operands)
    {
        output = result.Handle;
        output.Link();
        output.RequiresGradient = true;
        if (inputs.Length < operands.Length)
        {
            inputs = new TensorHandle[operands.Length];
        }

        inputCount = operands.Length;
        for (int i = 0; i < operands.Length; i++)
        {
            inputs[i] = operands[i].Handle;
            inputs[i].Link();
        }
    }

    internal void ReleaseSaved()
    {
        for (int i = 0; i < savedCount; i++)
        {
            saved[i]!.Release();
            saved[i] = null;
        }

        savedCount = 0;
    }

    internal void Recycle()
    {
        ReleaseSaved();
        for (int i = 0; i < inputCount; i++)
        {
            inputs[i].Unlink();
            inputs[i] = null!;
        }

        inputCount = 0;
        if (output is not null)
        {
            output.ReleaseGradient();
            output.Unlink();
            output = null;
        }

        Pool?.Push(this);
    }
}

/// <summary>A value on the tape, as those see it who study the graph instead of running it.</summary>
/// <param name="Id">Identifies the value; the output of one node and the input of another are the same value if the ids are equal.</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Parameter">The parameter whose value it is, or null.</param>
public readonly record struct TapeValue(long Id, Shape Shape, Parameter? Parameter);
