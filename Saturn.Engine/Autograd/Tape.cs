namespace Saturn.Engine.Autograd;

/// <summary>
/// The define-by-run tape of one thread: operations append nodes in the order in which they ran, and the backward pass walks them in reverse, which is a
/// topological order by construction and the same every time. Gradients of gradients are not supported.
/// </summary>
public sealed class Tape
{
    private readonly List<Node> nodes = new(256);

    internal Tape()
    {
    }

    /// <summary>The calling thread's tape.</summary>
    public static Tape Current => EngineThread.Current.Tape;

    /// <summary>Recorded nodes.</summary>
    public int Count => nodes.Count;

    /// <summary>A recorded node, oldest first; for those who trace the graph.</summary>
    public Node this[int index] => nodes[index];

    /// <summary>Whether an operation on these operands has to be recorded: one of them requires a gradient and no inference scope is open.</summary>
    public static bool Records(params ReadOnlySpan<Tensor> operands)
    {
        if (EngineThread.Current.InferenceDepth > 0)
        {
            return false;
        }

        foreach (Tensor operand in operands)
        {
            if (!operand.IsNone && operand.RequiresGradient)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A node to fill in and hand to <see cref="Record"/>; a recycled one if there is one.</summary>
    public static T Rent<T>()
        where T : Node, new()
    {
        Stack<Node> pool = NodePool<T>.Nodes ??= new Stack<Node>();
        if (pool.TryPop(out Node? recycled))
        {
            return (T)recycled;
        }

        return new T { Pool = pool };
    }

    /// <summary>Appends a node.</summary>
    /// <param name="node">The node, its own fields assigned.</param>
    /// <param name="output">The operation's output.</param>
    /// <param name="inputs">Everything that may receive a gradient, in the order in which the backward pass numbers them.</param>
    public static void Record(Node node, Tensor output, params ReadOnlySpan<Tensor> inputs)
    {
        Tape tape = Current;
        node.Connect(output, inputs);
        node.OutputHandle.ProducerIndex = tape.nodes.Count;
        tape.nodes.Add(node);
    }

    /// <summary>
    /// Runs the backward pass from a scalar. Every parameter that the loss depends on has its gradient written (or added to, if it held one); tensors that
    /// asked for a gradient keep theirs. Nodes are dropped and what they held is freed, as soon as each has run.
    /// </summary>
    /// <param name="loss">A tensor of one element, computed on this thread since the tape was last cleared.</param>
    public void Backward(Tensor loss)
    {
        if (loss.Shape.ElementCount != 1)
        {
            throw new ArgumentException($"The backward pass starts from one number, but this tensor has shape {loss.Shape}; reduce it with Operation.Sum or Mean.", nameof(loss));
        }

        TensorHandle handle = loss.Handle;
        int last = handle.ProducerIndex;
        if (!handle.RequiresGradient || !Produces(handle))
        {
            throw new InvalidOperationException(
                "This tensor was not computed from parameters on this thread's tape: an inference scope was open, its tensor scope has ended, or Backward ran already.");
        }

        handle.Gradient = Storage.Allocate(handle.Device, handle.Shape.StorageCount, handle.Type);
        handle.Device.Elementwise.Fill(handle.Shape, handle.Gradient.Buffer, 1);
        for (int i = nodes.Count - 1; i >= 0; i--)
        {
            Node node = nodes[i];
            nodes.RemoveAt(i);
            node.OutputHandle.GatherWaiting();
            if (i <= last && node.OutputHandle.Gradient is not null)
            {
                node.Backward(new BackwardContext(node));
            }

            node.Recycle();
        }
    }

    /// <summary>Whether a value was computed by a node that is still on the tape.</summary>
    internal bool Produces(TensorHandle handle) =>
        handle.ProducerIndex is int index && index >= 0 && index < nodes.Count && ReferenceEquals(nodes[index].OutputHandle, handle);

    /// <summary>Drops all nodes without running them.</summary>
    public void Clear() => TruncateTo(0);

    internal void TruncateTo(int count)
    {
        for (int i = nodes.Count - 1; i >= count; i--)
        {
            Node node = nodes[i];
            nodes.RemoveAt(i);
            node.Recycle();
        }
    }

    private static class NodePool<T>
    {
        [ThreadStatic]
        public static Stack<Node>? Nodes;
    }
}
